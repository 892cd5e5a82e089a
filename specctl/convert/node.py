"""What a Dask worker does with a task: a process of this machine runs it, and is watched here.

A decoder that crashes or hangs ends that process, and not the Dask worker.
"""

import multiprocessing.util
import os
import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from specctl.convert import work_names
from specctl.convert.executors import Control, Outcome, Task
from specctl.convert.jobs import PartJob
from specctl.convert.pool import Pool
from specctl.convert.watched import make_part
from specctl.errors import KernelError, ParameterError, StoreError
from specctl.version import __version__

_IDLE_SECONDS = 20.0
"""After which a process goes, with the memory of the device that it holds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How tasks are to be run.

    ``device`` is one of each machine's own, ``module`` what its process imports beforehand.
    ``timeout`` is in seconds without progress. ``version`` is that of whoever asks.
    """

    device: str
    module: str
    timeout: float
    version: str = __version__


class Reply(NamedTuple):
    """What `specctl.convert.executors.Outcome` says of a task."""

    value: Any
    error: BaseException | None
    death: str
    place: int | None


def for_any_folder(task: Task) -> Task:
    """The same task for a machine whose current folder is another one."""
    if task.function is work_names.convert_part:
        part = task.args[0]
        sources = tuple(replace(source, path=_absolute(source.path)) for source in part.sources)
        return replace(task, args=(replace(part, folder=_absolute(part.folder), sources=sources),))
    if task.function is work_names.probe_all:
        return replace(task, args=([_absolute(path) for path in task.args[0]],))
    return task


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def landmarks(task: Task) -> list[str]:
    """Paths of this machine by which another one can tell whether it has the disks of a task.

    A file that is gone is not among them: it costs itself alone.
    """
    if task.function is work_names.convert_part:
        part = task.args[0]
        paths, folders = [source.path for source in part.sources], [part.folder]
    elif task.function is work_names.probe_all:
        paths, folders = task.args[0], []
    else:
        return []
    return [*folders, *islice(filter(os.path.lexists, paths), 1)]


def run_here(task: Task, terms: Terms, seen: Sequence[str] = ()) -> Reply:
    """Run a task on this machine.

    Parameters
    ----------
    task : Task
    terms : Terms
    seen : sequence of str
        Its `landmarks`.

    Raises
    ------
    StoreError
        This machine has another version of specctl, does not see the files, or cannot start a
        process.
    """
    if terms.version != __version__:
        raise StoreError(
            f"{socket.gethostname()} has specctl {__version__}, this is {terms.version}; "
            "all machines need the same"
        )
    for path in seen:
        if not os.path.lexists(path):
            raise StoreError(
                f"{socket.gethostname()} does not see {path}; "
                "all machines need SOURCE and STORE under the same paths"
            )
    try:
        outcome = _outcome(task, terms)
    except StoreError as error:
        raise told_elsewhere(error) from error
    said = None if outcome.error is None else told_elsewhere(outcome.error)
    return Reply(outcome.value, said, outcome.death, outcome.place)


def told_elsewhere(error: BaseException) -> BaseException:
    """An error of this machine as it is to be understood on another one."""
    here = socket.gethostname()
    if isinstance(error, ParameterError):
        return ParameterError(str(error).replace("this machine", here))
    if not isinstance(error, StoreError | KernelError):
        return error
    problem, *cure = str(error).split("; ", 1)
    if "--workers" in "".join(cure):
        cure = ["allow more there, or fewer threads of Dask workers"]
    return type(error)(f"{here}: {'; '.join([problem, *cure])}")


def _outcome(task: Task, terms: Terms) -> Outcome:
    process = _process(threading.get_ident(), terms.device, terms.module)
    with process.lent() as pool:
        if task.function is work_names.convert_part:
            return _make_part(pool, task.args[0], terms.timeout)
        (outcome,) = pool.run(deque([task]), Control(), lambda: ())
        return outcome


def _make_part(pool: Pool, part: PartJob, timeout: float) -> Outcome:
    """Ends with the part, or once nobody waits for it any longer."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks[worker.get_current_task()]
    part = replace(part, n_sharing=worker.state.nthreads)
    # Dask clears the folder of a worker that was killed
    beats = Path(worker.local_directory) / f"specctl-beats-{threading.get_ident()}"
    return make_part(pool, part, beats, timeout, Control(), lambda: task.state != "cancelled")


class _Process:
    """A pool of one process, which goes when nothing has been asked of it for a while."""

    def __init__(self, device: str, module: str) -> None:
        self._device, self._module = device, module
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._timer: threading.Timer | None = None
        # or the end of the Dask worker would wait for the process, which ignores its signal
        multiprocessing.util.Finalize(None, self._end, exitpriority=0)

    @contextmanager
    def lent(self) -> Iterator[Pool]:
        """The pool."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._pool is None:
                self._pool = Pool([self._device], 1, self._module)
            try:
                yield self._pool
            finally:
                self._timer = threading.Timer(_IDLE_SECONDS, self._end_idle)
                self._timer.daemon = True
                self._timer.start()

    def _end_idle(self) -> None:
        with self._lock:
            # one that a later task has set has still to come
            if self._timer is threading.current_thread():
                self._end()

    def _end(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.__exit__()


@cache
def _process(_thread: int, device: str, module: str) -> _Process:
    """The one of a thread for each kind of conversion, as several may take turns."""
    return _Process(device, module)
