"""Time that counts for a hang, and time that does not."""

import subprocess
import sys
import time

import pytest

from specctl.convert.patience import RunningTime, patience

POOL = """
import os, signal, sys, time
from collections import deque
from specctl.convert.executors import Control, Task
from specctl.convert.pool import Pool
from tests.convert.test_patience import stopped_and_slow

task = Task(0, stopped_and_slow, (os.getpid(), float(sys.argv[1])), timeout=5.0)
with Pool(["cpu"], 1, "specctl.convert.preload") as pool:
    (outcome,) = pool.run(deque([task]), Control(), lambda: ())
print(outcome.value, outcome.death)
"""
STOP = "import os, signal, sys, time; p = int(sys.argv[1]); os.kill(p, signal.SIGSTOP)"
GO_ON = "time.sleep(6); os.kill(p, signal.SIGCONT)"


def stopped_and_slow(parent, seconds, _device):
    """Have the parent stopped for six seconds, and take as long and some more."""
    with subprocess.Popen([sys.executable, "-c", f"{STOP}; {GO_ON}", str(parent)]) as other:
        other.wait()
    time.sleep(seconds)
    return "done"


@pytest.fixture
def clock(monkeypatch):
    """A list whose sum is the time."""
    past = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: sum(past))
    return past


def test_all_time_counts_while_somebody_looks(clock):
    running = RunningTime()
    for n_looks in range(1, 100):
        clock.append(0.05)
        assert running.look() == pytest.approx(n_looks * 0.05)


def test_little_of_a_time_counts_in_which_nobody_looked(clock):
    running = RunningTime()
    clock.append(1.5)
    assert running.look() == 1.0


@pytest.mark.parametrize(("seconds", "answer"), [(0.2, "done "), (8, "None no progress")])
def test_a_task_is_not_late_for_a_pause(seconds, answer):
    command = [sys.executable, "-c", POOL, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith(answer), done.stderr


def test_large_files_are_given_time():
    assert patience(60.0, 10**9) == 160.0
