"""Running tasks: what every way to run them has in common, and running them in this process.

An executor is given tasks one at a time and yields an outcome for each. A worker that dies or
hangs costs its own task alone; what becomes of that task is for the caller to say.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self

from specctl.convert.background import WORTH_A_THREAD, Background
from specctl.errors import Stopped, StoreError

_MOST_DEATHS = 3


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
class Rest:
    """What a task returns that has only to wait for the disk; ``finish`` does, for the value."""

    finish: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task: a value, an exception, or how its worker ended.

    ``place`` is that of the source in hand then, -1 for none, where the executor has watched.
    """

    task: Task
    value: Any = None
    error: BaseException | None = None
    death: str = ""
    place: int | None = None


class Control:
    """How the caller stops a run: after the tasks in hand, or at once."""

    def __init__(self) -> None:
        self.draining = False
        self.killed = False

    def stop(self) -> None:
        """Finish what is in hand, begin nothing more; a second call stops at once."""
        self.killed = self.draining
        self.draining = True


class Executor(Protocol):
    """A way to run tasks."""

    @property
    def n_workers(self) -> int:
        """Tasks that run at a time, each in a process of its own; 0 where this one does it."""

    def run(
        self, tasks: deque[Task], control: Control, hung: Callable[[], Sequence[int]]
    ) -> Iterator[Outcome]:
        """Outcomes as they come; the caller may append to ``tasks`` in between.

        ``hung`` is called again and again and names the tasks whose workers must be killed.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def replies(
    executor: Executor,
    tasks: Iterable[Task],
    control: Control,
    look: Callable[[], None] = lambda: None,
) -> Iterator[Any]:
    """What each task returns; one whose worker dies is given to another.

    Parameters
    ----------
    executor : Executor
    tasks : iterable of Task
    control : Control
    look : callable
        Called again and again meanwhile.

    Raises
    ------
    StoreError
        If the workers of one task die again and again.
    Stopped
        If ``control`` has stopped the run before the last one.
    """

    def hung() -> Sequence[int]:
        look()
        return ()

    waiting = deque(tasks)
    n_due = len(waiting)
    deaths: Counter[int] = Counter()
    for outcome in executor.run(waiting, control, hung):
        if outcome.error is not None:
            raise outcome.error
        if not outcome.death:
            n_due -= 1
            yield outcome.value
            continue
        deaths[outcome.task.number] += 1
        if deaths[outcome.task.number] == _MOST_DEATHS:
            raise StoreError(
                f"the workers cannot start: {outcome.death}; allow more memory or processes "
                "(ulimit -u), or have fewer workers"
            )
        waiting.append(outcome.task)
    if n_due:
        raise Stopped("stopped before the first file")


class InProcess:
    """No processes: for a debugger, and for callers that must not fork."""

    n_workers = 0

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self, tasks: deque[Task], control: Control, hung: Callable[[], Sequence[int]]
    ) -> Iterator[Outcome]:
        """One task after another; exceptions that are not `Exception` go through."""
        waiting: _Waiting | None = None
        is_long = len(tasks) >= WORTH_A_THREAD
        try:
            while tasks and not control.draining:
                task = tasks.popleft()
                outcome = _outcome(task, partial(task.function, *task.args, self._device))
                finished = [waiting.outcome()] if waiting is not None else []
                waiting = None
                # before the caller, who may not come back
                if isinstance(outcome.value, Rest) and tasks and is_long:
                    waiting = _Waiting(task, outcome.value)
                else:
                    finished.append(_finished(outcome))
                yield from finished
                hung()
            if waiting is not None:
                last, waiting = waiting.outcome(), None
                yield last
        finally:
            if waiting is not None:
                waiting.outcome()


class _Waiting:
    """The rest of a task, in the background."""

    def __init__(self, task: Task, rest: Rest) -> None:
        self._unfinished = Outcome(task, rest)
        self._finished: Outcome | None = None
        self._background = Background(self._finish)

    def outcome(self) -> Outcome:
        """What came of the task; waits for it."""
        self._background.wait()
        if self._finished is None:
            raise RuntimeError("the rest of a task has ended without an outcome")
        return self._finished

    def _finish(self) -> None:
        self._finished = _finished(self._unfinished)


def _finished(outcome: Outcome) -> Outcome:
    """The outcome of a task and of its rest, if it has left one."""
    rest = outcome.value
    return _outcome(outcome.task, rest.finish) if isinstance(rest, Rest) else outcome


def _outcome(task: Task, function: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(task, value=function())
    except Exception as error:  # the caller looks at it: a bug is raised there
        return Outcome(task, error=error)
