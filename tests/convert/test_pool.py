"""Workers whose fork server is killed, as by a system that is short of memory."""

import os
import signal
from collections import deque
from contextlib import suppress
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


def test_a_fork_server_that_is_killed_costs_one_task_at_most():
    for _ in range(2):
        with Pool(["cpu"], 1, PRELOAD) as pool:
            (reason,) = ask(pool)
            server = forkserver._forkserver._forkserver_pid
            os.kill(server, signal.SIGKILL)
            outcomes = [ask(pool)]
            # its worker goes with it, at the latest now
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
            outcomes += [ask(pool), ask(pool)]
            assert outcomes.count([reason]) >= len(outcomes) - 1
            assert outcomes[-1] == [reason]
