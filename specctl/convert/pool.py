"""Running tasks in processes that may die or hang at any time.

Each worker has a pipe of its own and shares nothing with the others, so one that is killed,
whatever it was doing, cannot take a lock or a task of another with it.
"""

import ctypes
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle, islice
from multiprocessing import current_process, forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any, Self

from specctl.convert.executors import Control, Outcome, Rest, Task
from specctl.convert.fork_server import (
    GROUP_SIGNALS,
    await_end_of_server,
    begin_fork_server,
    check_open_files,
    ensure_fork_server,
    no_process,
)
from specctl.convert.patience import RunningTime
from specctl.errors import SpecctlError

_POLL_SECONDS = 0.1
_DEATH_SECONDS = 10.0
_MOST_STARTS = 3
_HUNG = "no progress for too long"


class Pool:
    """Processes, all forked from one that has imported ``module`` and nothing else.

    The workers die with their parent, leave it to the parent what a signal to the whole group
    means, and do not import the program's main module.

    Parameters
    ----------
    devices : sequence of str
        The workers are dealt out to them in turn.
    n_workers : int
        In all; at least one for each device.
    module : str
    """

    def __init__(self, devices: Sequence[str], n_workers: int, module: str) -> None:
        # it imports while the caller looks for files
        begin_fork_server(module)
        context = _Context()
        most = max(n_workers, len(devices))
        self._workers = [_Worker(context, device) for device in islice(cycle(devices), most)]

    @property
    def n_workers(self) -> int:
        """All of them, whether they have been started or not."""
        return len(self._workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()

    def run(
        self, tasks: deque[Task], control: Control, hung: Callable[[], Sequence[int]]
    ) -> Iterator[Outcome]:
        """As many tasks at a time as there are workers; killed ones are reported, not lost."""
        running = RunningTime()
        while True:
            now = running.look()
            for worker in self._workers:
                if tasks and worker.task is None and not control.draining:
                    n_workers = sum(other.is_started for other in self._workers)
                    if not worker.is_started:
                        n_workers += 1
                        check_open_files(n_workers)
                    if not worker.begin(tasks.popleft(), now):
                        raise no_process(n_workers)
            busy = [worker for worker in self._workers if worker.task is not None]
            if control.killed or not busy:
                return
            ready = wait([worker.pipe for worker in busy if worker.pipe], _POLL_SECONDS)
            for worker in busy:
                if worker.pipe in ready:
                    yield worker.outcome()
            stuck = set(hung())
            for worker in busy:
                task = worker.task
                if task is not None and (task.number in stuck or worker.is_late(now)):
                    yield worker.give_up()


class _Worker:
    """A process and the pipe to it; when it has died, another one takes its place."""

    def __init__(self, context: "_Context", device: str) -> None:
        self._context = context
        self._device = device
        self._process: _WorkerProcess | None = None
        self._deadline = float("inf")
        self.task: Task | None = None
        self.pipe: Connection[Any, Any] | None = None

    @property
    def is_started(self) -> bool:
        """Whether there is a process, dead or alive."""
        return self._process is not None

    def is_late(self, now: float) -> bool:
        """Whether the task in hand has taken longer than it may."""
        return now > self._deadline

    def begin(self, task: Task, now: float) -> bool:
        """Hand over a task at a time, in seconds; false if no process can be started."""
        for _ in range(_MOST_STARTS):
            try:
                if self.pipe is None or self._process is None or not self._process.is_alive():
                    self.end()
                    self._start()
                if self.pipe is not None:
                    self.pipe.send((task.function, (*task.args, self._device)))
            except (OSError, EOFError):
                self.end()
                await_end_of_server()
                continue
            self.task = task
            seconds = task.timeout
            self._deadline = float("inf") if seconds is None else now + seconds
            return True
        return False

    def outcome(self) -> Outcome:
        """What came of the task, once there is something to read."""
        task = self._released()
        try:
            if self.pipe is None:
                raise EOFError("no process")
            value, error = self.pipe.recv()
        except (OSError, EOFError):
            return Outcome(task, death=self._manner_of_death())
        except Exception as broken:  # whatever unpickling raises: the caller looks at it
            return Outcome(task, error=broken)
        return Outcome(task, value=value, error=error)

    def give_up(self) -> Outcome:
        """End the process that has the task in hand."""
        task = self._released()
        self.end()
        return Outcome(task, death=_HUNG)

    def end(self) -> None:
        """End the process, at once."""
        if self._process is not None:
            self._process.kill()
            self._process.join(_DEATH_SECONDS)
        if self.pipe is not None:
            self.pipe.close()
        self._process = self.pipe = None

    def _start(self) -> None:
        self.pipe, theirs = self._context.Pipe()
        try:
            ensure_fork_server()
            process = _WorkerProcess(target=_serve, args=(theirs,), daemon=True)
            process.start()
            self._process = process
        finally:
            theirs.close()

    def _released(self) -> Task:
        task, self.task = self.task, None
        self._deadline = float("inf")
        if task is None:
            raise RuntimeError("a worker without a task was asked for its outcome")
        return task

    def _manner_of_death(self) -> str:
        code = None
        if self._process is not None:
            self._process.join(_DEATH_SECONDS)
            code = self._process.exitcode
        self.end()
        if code is None or code >= 0:
            return f"ended its process with exit code {code}"
        name = signal.Signals(-code).name
        hint = ", perhaps for lack of memory" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"


def _serve(pipe: "Connection[Any, Any]") -> None:
    """All that a worker does: one task after another, until nobody sends any."""
    # what decoders have to say (libmpg123 a line for each doubt) would garble the report
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    # a job manager signals all processes of a job: the task in hand is still to be finished
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, GROUP_SIGNALS)
    _die_with_parent()
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_result(pipe))


def _result(pipe: "Connection[Any, Any]") -> tuple[Any, BaseException | None]:
    """Value or error of the next task."""
    try:
        function, args = pipe.recv()
        value = function(*args)
        return (value.finish() if isinstance(value, Rest) else value), None
    except (EOFError, ConnectionError):
        raise
    except Exception as error:  # the caller looks at it: a bug is raised there
        if not isinstance(error, SpecctlError):
            error.add_note(f"in a worker:\n{traceback.format_exc()}")
        return None, error


def _die_with_parent() -> None:
    """Have the kernel end this process when the one that asked for it is gone.

    The fork server ends when nobody holds its pipe any longer, and takes its children along.
    """
    alive = getattr(forkserver._forkserver, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)


class _WorkerProcess(ForkServerProcess):
    """A process that does not import the main module of its parent.

    Workers call functions of this package only. Importing main again costs time, and in a
    script without the usual guard would run it a second time. A daemonic process may have some,
    too: no worker outlives its parent.
    """

    is_of_specctl = True
    """What `specctl.convert.memory` goes by."""

    def start(self) -> None:
        with _hidden_main(), _as_no_daemon():
            super().start()


class _Context(ForkServerContext):
    Process = _WorkerProcess


@contextmanager
def _as_no_daemon() -> Iterator[None]:
    """Have multiprocessing start a child of a daemonic process, which it would refuse."""
    config: dict[str, Any] = getattr(current_process(), "_config", {})
    kept = config.pop("daemon", None)
    try:
        yield
    finally:
        if kept is not None:
            config["daemon"] = kept


_hiding = threading.Lock()


@contextmanager
def _hidden_main() -> Iterator[None]:
    main = sys.modules["__main__"]
    names = ("__file__", "__spec__")
    with _hiding:
        kept = {name: getattr(main, name) for name in names if hasattr(main, name)}
        for name in kept:
            setattr(main, name, None)
        try:
            yield
        finally:
            for name, value in kept.items():
                setattr(main, name, value)
