"""What stands in the README as Python runs as it stands there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.convert.commands import LIMIT, environment, run

README = Path(__file__).parent.parent / "README.md"
CLIPS = Path(__file__).parent / "clips"


def test_its_python_runs_from_top_to_bottom(tmp_path):
    shutil.copytree(CLIPS / "speech", tmp_path / "recordings" / "speech")
    shutil.copy(CLIPS / "speech" / "hello.wav", tmp_path / "recordings" / "speech" / "a.wav")
    assert run("recordings/", "out.h5", cwd=tmp_path).returncode == 0
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    # a process each: a name of the one above would be missing where it is read alone
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block],
            check=False,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            cwd=tmp_path,
            env=environment(),
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
