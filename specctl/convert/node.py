"""What a Dask worker does with a task: a process of this machine runs it, and is watched here.

A decoder that crashes or hangs ends that process, and not the Dask worker. Each thread of a Dask
worker has one.
"""

import os
import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from specctl.convert import work_names
from specctl.convert.executors import Control, Task
from specctl.convert.pool import Pool
from specctl.convert.temporary import temporary_place
from specctl.convert.watched import make_part
from specctl.errors import StoreError
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
    from distributed import get_worker

    with _processes.of_this_thread().lent(terms) as pool:
        if task.function is work_names.convert_part:
            part = replace(task.args[0], n_sharing=get_worker().state.nthreads)
            with temporary_place() as folder:
                outcome = make_part(pool, part, folder / "beats", terms.timeout, Control())
        else:
            (outcome,) = pool.run(deque([task]), Control(), lambda: ())
    return Reply(outcome.value, outcome.error, outcome.death, outcome.place)


class _Process:
    """A pool of one process, which goes when nothing has been asked of it for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._terms: Terms | None = None
        self._pool: Pool | None = None
        self._timer: threading.Timer | None = None

    @contextmanager
    def lent(self, terms: Terms) -> Iterator[Pool]:
        """The pool for these terms."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
            if self._pool is None or terms != self._terms:
                self._end()
                self._pool, self._terms = Pool([terms.device], 1, terms.module), terms
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
        if self._pool is not None:
            self._pool.__exit__()
        self._pool = None


class _Processes(threading.local):
    """One for each thread."""

    def __init__(self) -> None:
        self._process = _Process()

    def of_this_thread(self) -> _Process:
        """The one."""
        return self._process


_processes = _Processes()
