"""The file HDF5 writes a store to, and what happens to it when the disk is full.

HDF5 2.0 ends the process (SIGSEGV) when a write fails while it closes a file, whatever its cache.
So it never sees a write fail: it writes through a file object that remembers the first error and
drops all bytes from then on. Whoever writes asks `FileSink.check` as often as is worth it.
"""

import os
from pathlib import Path

from specctl.durable import begin_writing, read_all
from specctl.errors import StoreError


class FileSink:
    """A new file, open for writing, as h5py's ``fileobj`` driver wants one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._error: OSError | None = None
        self._position = 0
        self._size = 0
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            self._error = error
            self.check()

    def check(self) -> None:
        """Raise StoreError if anything could not be written."""
        if self._error is not None:
            reason = self._error.strerror or self._error
            raise StoreError(f"cannot write {self.path}: {reason}") from self._error

    def begin_writing(self) -> None:
        """Have the disk begin with what is there, while there is more to come."""
        begin_writing(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        try:
            os.close(self._descriptor)
        except OSError as error:
            self._error = self._error or error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte counted from the start or from the end."""
        self._position = offset + (self._size if whence == os.SEEK_END else 0)
        return self._position

    def tell(self) -> int:
        """Byte the next call begins at."""
        return self._position

    def write(self, data: bytes | memoryview) -> int:
        """Write all bytes; after an error, only count them."""
        view = memoryview(data).cast("B")
        end = self._position + len(view)
        try:
            while view and self._error is None:
                n_written = os.pwrite(self._descriptor, view, self._position)
                view = view[n_written:]
                self._position += n_written
        except OSError as error:
            self._error = error
        self._position = end
        self._size = max(self._size, end)
        return len(data)

    def read(self, n_bytes: int) -> bytes:
        """As `readinto`; h5py asks whether there is such a method."""
        data = bytearray(n_bytes)
        self.readinto(memoryview(data))
        return bytes(data)

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer; zeros stand for what was never written."""
        view = memoryview(buffer).cast("B")
        data = b""
        try:
            data = read_all(self._descriptor, len(view), self._position)
        except OSError as error:
            self._error = self._error or error
        view[:] = data.ljust(len(view), b"\0")
        self._position += len(view)
        return len(view)

    def truncate(self, size: int) -> int:
        """Give the file its length."""
        self._size = size
        try:
            if self._error is None:
                os.ftruncate(self._descriptor, size)
        except OSError as error:
            self._error = error
        return size

    def flush(self) -> None:
        """Nothing is held back."""
