"""The kernels run by Triton's interpreter, in a process of their own."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="needs triton, which the test extra brings on Linux")

FOLDER = Path(__file__).parent / "interpreted"
ROOT = Path(__file__).parents[3]

OLD_WITH_NEW_NUMPY = version("triton").startswith(
    ("3.2.", "3.3.", "3.4.", "3.5.", "3.6.")
) and not version("numpy").startswith(("1.", "2.0.", "2.1.", "2.2.", "2.3."))


def test_holds_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-p", "no:xdist", "-o", "python_files=check_*.py", str(FOLDER)]
    if OLD_WITH_NEW_NUMPY:
        # the interpreter of triton before 3.7 cannot count with numpy 2.4 and newer
        command += ["--ignore", str(FOLDER / "check_gradients.py")]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
