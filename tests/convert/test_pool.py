"""Workers whose fork server is killed, as by a system that is short of memory."""

import os
import signal
from collections import deque
from multiprocessing import forkserver

from specctl.convert import work_names
from specctl.convert.early import PRELOAD
from specctl.convert.executors import Control, Task
from specctl.convert.pool import Pool


def ask(pool):
    """What came of a task: a value, or the death of its worker."""
    tasks = deque([Task(0, work_names.probe_all, (["nothing.wav"],))])
    (outcome,) = pool.run(tasks, Control(), lambda: ())
    return outcome.value or outcome.death


def test_a_fork_server_that_is_killed_is_replaced_at_once():
    for _ in range(8):
        with Pool(["cpu"], 1, PRELOAD) as pool:
            (reason,) = ask(pool)
            os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
            # its worker goes with it, now or with a task in hand
            ask(pool)
            assert ask(pool) == [reason]
