"""Bytes that are put aside for later: few in memory, many in a file that has no name."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from specctl.durable import write_all

_MEMORY_BYTES = 1 << 22
_PIECE_BYTES = 1 << 20


class UnnamedFile:
    """A file that is made when something is first written, and gone once it is closed.

    Parameters
    ----------
    beside : Path
        A file in whose folder it lies.

    Raises
    ------
    OSError
        From any method but `close`: the disk cannot take bytes or give them back.
    """

    def __init__(self, beside: Path) -> None:
        self._beside = beside
        self._descriptor: int | None = None

    def write(self, start: int, data: bytes | memoryview) -> None:
        """Write bytes to a place in the file, or to its end."""
        if self._descriptor is None:
            self._descriptor = self._opened()
        os.lseek(self._descriptor, start, os.SEEK_SET)
        write_all(self._descriptor, data)

    def read(self, start: int, n_bytes: int) -> bytes:
        """Bytes that were written there."""
        data = b""
        if self._descriptor is not None:
            os.lseek(self._descriptor, start, os.SEEK_SET)
            while len(data) < n_bytes and (more := os.read(self._descriptor, n_bytes - len(data))):
                data += more
        if len(data) < n_bytes:
            raise OSError(errno.EIO, "a temporary file has lost its end")
        return data

    def close(self) -> None:
        """Let go of all bytes; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # nothing is lost with it
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _opened(self) -> int:
        # a kill before the name is gone leaves one that `specctl.convert.folder` sweeps
        path = self._beside.with_name(f"{self._beside.name}.tmp-{time.time_ns()}")
        of_windows = getattr(os, "O_BINARY", 0) | getattr(os, "O_TEMPORARY", 0)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | of_windows, 0o600)
        with contextlib.suppress(OSError):
            path.unlink()
        return descriptor


class Spill:
    """Bytes one after another, of which the last can be taken back.

    Parameters
    ----------
    beside : Path
        A file in whose folder those lie that are too many for memory.

    Raises
    ------
    OSError
        From any method but `close`: the disk cannot take them or give them back.
    """

    def __init__(self, beside: Path) -> None:
        self._file = UnnamedFile(beside)
        self._n_written = 0
        self._recent = bytearray()

    @property
    def size(self) -> int:
        """Bytes there are."""
        return self._n_written + len(self._recent)

    def append(self, data: bytes) -> None:
        """Put bytes behind those that are there."""
        self._recent += data
        if len(self._recent) >= _MEMORY_BYTES:
            self._file.write(self._n_written, bytes(self._recent))
            self._n_written += len(self._recent)
            self._recent.clear()

    def truncate(self, size: int) -> None:
        """Keep the first bytes only; what a file has behind them is written over."""
        self._n_written = min(self._n_written, size)
        del self._recent[size - self._n_written :]

    def pieces(self) -> Iterator[bytes]:
        """All bytes from the first, about a megabyte at a time."""
        for start in range(0, self._n_written, _PIECE_BYTES):
            yield self._file.read(start, min(_PIECE_BYTES, self._n_written - start))
        yield bytes(self._recent)

    def close(self) -> None:
        """Let go of all bytes; a second call does nothing."""
        self._file.close()
        self._n_written = 0
        self._recent.clear()
