"""Running tasks: in this process, or in a pool that survives a dead or hung worker.

Both are given tasks one at a time and yield an outcome for each. A worker that dies or hangs
costs its own task alone; what becomes of that task is for the caller to say.
"""

import ctypes
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children, forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from types import TracebackType
from typing import Any, Protocol, Self

from pebble import ProcessExpired, ProcessPool

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Task:
    """A call to make: ``function(*args, device)``, the device being the worker's own.

    ``number`` names it; after ``timeout`` seconds its worker is killed.
    """

    number: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task: a value, an exception, or how its worker ended."""

    task: Task
    value: Any = None
    error: BaseException | None = None
    death: str = ""


class Control:
    """How the caller stops a run: after the tasks in hand, or at once."""

    def __init__(self) -> None:
        self.draining = False
        self.killed = False
        self.signal: int | None = None

    def stop(self, number: int | None = None) -> None:
        """Finish what is in hand, begin nothing more; a second call stops at once."""
        self.killed = self.draining
        self.draining = True
        self.signal = number or self.signal


class Executor(Protocol):
    """A way to run tasks."""

    def run(
        self, tasks: deque[Task], control: Control, hung: Callable[[], Sequence[int]]
    ) -> Iterator[Outcome]:
        """Outcomes as they come; the caller may append to ``tasks`` in between.

        ``hung`` is called again and again and names the tasks whose workers must be killed.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class InProcess:
    """No processes: for a debugger, and for callers that must not fork."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def run(
        self, tasks: deque[Task], control: Control, hung: Callable[[], Sequence[int]]
    ) -> Iterator[Outcome]:
        """One task after another; exceptions that are not `Exception` go through."""
        while tasks and not control.draining:
            task = tasks.popleft()
            try:
                value = task.function(*task.args, self._device)
            except Exception as error:  # the caller looks at it: a bug is raised there
                yield Outcome(task, error=error)
            else:
                yield Outcome(task, value=value)
            hung()


class Pool:
    """Processes, all forked from one that has imported ``module`` and nothing else.

    The workers die with their parent, leave it to the parent what a signal to the whole group
    means, and do not import the program's main module.

    Parameters
    ----------
    devices : sequence of str
        The workers are shared out among them.
    n_workers : int
        In all; at least one for each device.
    module : str
    """

    def __init__(self, devices: Sequence[str], n_workers: int, module: str) -> None:
        context = _Context()
        context.set_forkserver_preload([module])
        # the import goes on while the caller looks for files
        forkserver.ensure_running()
        share = max(1, n_workers // len(devices))
        self._groups = [
            _Group(device, share, ProcessPool(share, context=context, initializer=_begin_worker))
            for device in devices
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            _kill_workers()
        for group in self._groups:
            group.pool.stop()  # type: ignore[no-untyped-call]
        for group in self._groups:
            group.pool.join()

    def run(
        self, tasks: deque[Task], control: Control, hung: Callable[[], Sequence[int]]
    ) -> Iterator[Outcome]:
        """As many tasks at a time as there are workers; killed ones are reported, not lost."""
        while True:
            for group in self._groups:
                while tasks and len(group.running) < group.n_workers and not control.draining:
                    group.start(tasks.popleft())
            running = {future: group for group in self._groups for future in group.running}
            if control.killed:
                _kill_workers()
            if control.killed or not running:
                return
            done, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                yield _outcome(running[future].running.pop(future), future)
            stuck = set(hung())
            for group in self._groups:
                group.cancel(stuck)


@dataclass(slots=True)
class _Group:
    """The workers of one device."""

    device: str
    n_workers: int
    pool: ProcessPool
    running: dict[Any, Task] = field(default_factory=dict)

    def start(self, task: Task) -> None:
        args = (task.function, *task.args, self.device)
        self.running[self.pool.schedule(_call, args=args, timeout=task.timeout)] = task

    def cancel(self, numbers: set[int]) -> None:
        for future, task in self.running.items():
            if task.number in numbers:
                future.cancel()


def _outcome(task: Task, future: Any) -> Outcome:
    try:
        return Outcome(task, value=future.result())
    except ProcessExpired as error:
        return Outcome(task, death=_manner_of_death(error.exitcode))
    except (CancelledError, TimeoutError):
        return Outcome(task, death="no progress for too long")
    except Exception as error:  # the caller looks at it: a bug is raised there
        return Outcome(task, error=error)


def _manner_of_death(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended its process with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    hint = ", perhaps for lack of memory" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"


_busy = False


def _begin_worker() -> None:
    """Runs first in each worker."""
    signal.signal(signal.SIGTERM, _end_if_idle)
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)


def _call(function: Callable[..., Any], *args: Any) -> Any:
    """Runs each task in its worker."""
    global _busy  # noqa: PLW0603 - one flag of this process, read by its signal handler
    _busy = True
    try:
        return function(*args)
    finally:
        _busy = False


def _end_if_idle(number: int, frame: object) -> None:
    # a job manager signals all processes of a job; the task in hand is still to be finished
    if not _busy:
        os._exit(0)


def _kill_workers() -> None:
    for process in active_children():
        if isinstance(process, _WorkerProcess):
            process.kill()


class _WorkerProcess(ForkServerProcess):
    """A process that does not import the main module of its parent.

    Workers call functions of this package only. Importing main again costs time, and in a
    script without the usual guard would run it a second time.
    """

    def start(self) -> None:
        with _hidden_main():
            super().start()


class _Context(ForkServerContext):
    Process = _WorkerProcess


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
