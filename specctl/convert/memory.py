"""How much memory a worker may take, whatever a file claims or unpacks to.

Files are decoded block by block, so this is for decoders: what they take for themselves, and what
a damaged header makes them ask for. What fails is then a file, with ``not enough memory`` for a
reason, and not the machine.
"""

import multiprocessing
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

WORKER_BYTES = 1 << 30
"""On top of what the worker has when it begins: a tile and a block take a hundredth of it."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@cache
def limit_memory(n_bytes: int = WORKER_BYTES) -> None:
    """Let a worker process take ``n_bytes`` more at most; beyond, allocations fail.

    For workers that need no torch, which takes nobody knows how much for itself and for drivers
    of GPUs. Only in processes of our own pool, and only on Linux, where data segments can be
    counted.
    """
    if _is_worker():
        _limit_data_to(n_bytes)


def decoding_limited(n_bytes: int = WORKER_BYTES) -> AbstractContextManager[None]:
    """Let a decoder take ``n_bytes`` at most, in workers and in this process alike.

    The limit is there only while a decoder is at work, since what else a process does may take
    more. It holds for all threads of a process; a caller with threads of its own, other than
    daemons such as that of a progress bar, is spared it.
    """
    is_due = not limit_memory.cache_info().currsize if _is_worker() else _is_alone()
    return _decoding.limited(n_bytes) if is_due else nullcontext()


class _Decoding:
    """Decoders at work in threads of this process, which share one limit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_at_work = 0
        self._before = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    @contextmanager
    def limited(self, n_bytes: int) -> Iterator[None]:
        """The limit of the first one counts, and goes with the last one."""
        with self._lock:
            if self._n_at_work == 0:
                self._before = resource.getrlimit(resource.RLIMIT_DATA)
                _limit_data_to(n_bytes)
            self._n_at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_at_work -= 1
                if self._n_at_work == 0:
                    resource.setrlimit(resource.RLIMIT_DATA, self._before)


_decoding = _Decoding()


def _is_worker() -> bool:
    """Whether this is a process of our own pool: one of another pool has more to do."""
    is_ours = getattr(multiprocessing.current_process(), "is_of_specctl", False)
    return sys.platform == "linux" and is_ours


def _is_alone() -> bool:
    return sys.platform == "linux" and sum(not each.daemon for each in threading.enumerate()) == 1


def _read(path: str) -> bytes:
    """A short file of /proc, in a third of the time that a file object takes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def _limit_data_to(n_bytes: int) -> None:
    """Limit data segments to ``n_bytes`` more than there are, unless a lower limit holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        used = int(_read("/proc/self/statm").split()[5]) * _PAGE_BYTES
        wanted = used + n_bytes
        if all(limit == resource.RLIM_INFINITY or wanted < limit for limit in (soft, hard)):
            resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    except (OSError, ValueError, IndexError):
        # a limit that cannot be set, in some containers, is no reason to convert nothing
        return
