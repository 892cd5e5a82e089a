"""Where the system refuses what compiled code needs."""

import subprocess
import sys

import pytest

from tests.audio.conftest import noise, write

REFUSED = """
import ctypes, sys
from specctl.__main__ import main
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(99)
sys.argv[0] = "specctl"
sys.exit(main())
"""


def refused(*command):
    """A command where memory that was written may not be executed."""
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, *command],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == 99:
        pytest.skip("the kernel is older than 6.3")
    assert "Traceback" not in done.stderr
    return done


# an FFT, samples of a file, and neither
@pytest.mark.parametrize(
    ("kernel", "ending"),
    [("auto", "ogg"), ("conv", "wav"), pytest.param("conv", "ogg", marks=pytest.mark.thorough)],
)
def test_memory_that_may_not_be_executed_is_an_error_with_a_way_out(tmp_path, kernel, ending):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / f"a.{ending}", noise(8_000, 1), 16_000)
    done = refused("convert", tmp_path / "in", tmp_path / "out.h5", "--kernel", kernel)
    assert done.returncode == 2
    assert "does not let specctl execute the code that it compiles" in done.stderr
    assert "MemoryDenyWriteExecute=no" in done.stderr


def test_doctor_names_it_and_the_way_out(tmp_path):
    done = refused("doctor", tmp_path)
    assert done.returncode == 1
    assert "does not let specctl execute the code that it compiles" in done.stdout
    assert "MemoryDenyWriteExecute=no" in " ".join(done.stdout.split())
    assert "force-reinstall" not in done.stdout
