"""Where the system refuses what compiled code needs."""

import json
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.audio.conftest import noise, write

# a process for each command, of one that has imported what takes seconds
REFUSED = """
import ctypes, json, os, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(99)
import librosa, torch
from specctl.__main__ import main
answers = {}
for name, command in json.loads(sys.argv[1]).items():
    if os.fork() == 0:
        for number in (1, 2):
            os.dup2(os.open(f"{name}.{number}", os.O_WRONLY | os.O_CREAT), number)
        sys.argv = ["specctl", *command]
        sys.exit(main())
    code = os.waitstatus_to_exitcode(os.wait()[1])
    answers[name] = [code, open(f"{name}.1").read(), open(f"{name}.2").read()]
print(json.dumps(answers))
"""


class Answer(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What commands say where memory that was written may not be executed."""
    folder = tmp_path_factory.mktemp("refused")
    commands = {"doctor": ["doctor", "."]}
    for ending in ("wav", "ogg"):
        write(folder / f"a.{ending}", noise(8_000, 1), 16_000)
        for kernel in ("auto", "conv"):
            name = f"{ending}-{kernel}"
            commands[name] = ["convert", f"a.{ending}", f"{name}.h5", "--kernel", kernel]
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, json.dumps(commands)],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    if done.returncode == 99:
        pytest.skip("the kernel is older than 6.3")
    assert done.returncode == 0, done.stderr
    found = {name: Answer(*answer) for name, answer in json.loads(done.stdout).items()}
    assert not any("Traceback" in answer.stderr for answer in found.values())
    return found


@pytest.mark.parametrize("kernel", ["auto", "conv"])
@pytest.mark.parametrize("ending", ["wav", "ogg"])
def test_memory_that_may_not_be_executed_is_an_error_with_a_way_out(answers, kernel, ending):
    done = answers[f"{ending}-{kernel}"]
    assert done.returncode == 2
    assert "does not let specctl execute the code that it compiles" in done.stderr
    assert "MemoryDenyWriteExecute=no" in done.stderr


def test_doctor_names_it_and_the_way_out(answers):
    done = answers["doctor"]
    assert done.returncode == 1
    assert "does not let specctl execute the code that it compiles" in done.stdout
    assert "MemoryDenyWriteExecute=no" in " ".join(done.stdout.split())
    assert "force-reinstall" not in done.stdout
