"""Long tasks side by side, each on one thread.

torch shares the work of each of its operations among threads and waits for all of them at its
end: hundreds of times in a training step, each time as long as the slowest needs. Tasks that each
thread does by itself, from beginning to end, wait once. Compiled transforms have no threads but
these.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")


def side_by_side(tasks: Sequence[Callable[[], T]], device: torch.device) -> list[T]:
    """What the tasks return, in their order; no gradients are recorded.

    `n_side_by_side` of them run at once.
    """
    n_threads = min(len(tasks), n_side_by_side(device))
    if n_threads < 2 or not _CREW.has(n_threads):
        with torch.no_grad():
            return [task() for task in tasks]
    call = _Call(tasks)
    for _ in range(n_threads):
        _CREW.work(call.take_part)
    call.wait(n_threads)
    return call.results


def n_side_by_side(device: torch.device) -> int:
    """On a CPU as many as torch has threads; elsewhere the device does that by itself."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def rest_others(device: torch.device) -> None:
    """End the threads that torch's own operations have used, which it starts anew when needed.

    They wait for more work by looking for it, for 4 ms after the last operation, on the cores
    that `side_by_side` is about to use.
    """
    # a child of a fork has none of these threads, but believes it has
    openmp = _openmp() if n_side_by_side(device) > 1 and not _CREW.is_forked else None
    if openmp is not None:
        soft = 1
        openmp.omp_pause_resource(soft, openmp.omp_get_initial_device())


@cache
def _openmp() -> Any:
    """GNU's library, if that is what torch has loaded."""
    try:
        library = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD)
    except (OSError, AttributeError):
        return None
    return library if hasattr(library, "omp_pause_resource") else None


class _Call(Generic[T]):
    """Tasks, of which each thread takes the next one until there is none left."""

    def __init__(self, tasks: Sequence[Callable[[], T]]) -> None:
        self._tasks = iter(enumerate(tasks))
        self._lock = threading.Lock()
        self._found: dict[int, T] = {}
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self._is_over = False

    @property
    def results(self) -> list[T]:
        return [self._found[number] for number in range(len(self._found))]

    def take_part(self) -> None:
        error = None
        try:
            with torch.no_grad():
                while (next_one := self._next()) is not None:
                    number, task = next_one
                    self._found[number] = task()
        except BaseException as raised:  # whatever it is, it belongs to the caller
            error, self._is_over = raised, True
        self._ended.put(error)

    def wait(self, n_threads: int) -> None:
        try:
            errors = [self._ended.get() for _ in range(n_threads)]
        finally:
            # interrupted while it waits: what is running ends, nothing else is begun
            self._is_over = True
        for error in errors:
            if error is not None:
                raise error

    def _next(self) -> tuple[int, Callable[[], T]] | None:
        with self._lock:
            return None if self._is_over else next(self._tasks, None)


class _Crew:
    """Threads on which torch takes no others to help; kept from call to call."""

    def __init__(self) -> None:
        self.is_forked = False
        self._begin()
        if hasattr(os, "register_at_fork"):
            # a child has none of its parent's threads
            os.register_at_fork(after_in_child=self._begin_in_child)

    def _begin_in_child(self) -> None:
        self.is_forked = True
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._n_threads = 0
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def has(self, n_threads: int) -> bool:
        """Whether there are so many; starts them as far as the system gives them."""
        with self._lock:
            if self._n_threads < n_threads:
                self._start(n_threads - self._n_threads)
            return self._n_threads >= n_threads

    def work(self, job: Callable[[], None]) -> None:
        """Have one of them do a job."""
        self._jobs.put(job)

    def _start(self, n_threads: int) -> None:
        before = torch.get_num_threads()
        for _ in range(n_threads):
            ready = threading.Event()
            # daemons: an interpreter that ends does not wait for them
            thread = threading.Thread(target=self._serve, args=(ready, self._jobs), daemon=True)
            try:
                thread.start()
            except RuntimeError:
                break
            ready.wait()
            self._n_threads += 1
        # theirs is also what threads get that others start
        torch.set_num_threads(before)

    @staticmethod
    def _serve(ready: threading.Event, jobs: "SimpleQueue[Callable[[], None]]") -> None:
        # a thread takes the number of others when it first asks, also after it was given its own
        torch.get_num_threads()
        torch.set_num_threads(1)
        ready.set()
        while True:
            jobs.get()()


_CREW = _Crew()
