"""Writing files so that they are complete or absent, also after a power cut.

A rename alone is not enough: without ``fsync`` of the file, a file system may publish the name
before the bytes; without ``fsync`` of the folder, the name itself may be lost.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from specctl.errors import StoreError


@contextlib.contextmanager
def reported_os_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn an ``OSError`` into ``cannot write {path}: {reason}``; the cause stays chained."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot {doing} {path}: {error.strerror or error}") from error


def check_place(path: Path) -> None:
    """Refuse before the work a file that could not be written after it.

    Raises
    ------
    StoreError
        The path is that of a folder, or lies in one that is not there.
    """
    with reported_os_errors(path):
        if path.is_dir():
            raise StoreError(f"cannot write {path}: it is a folder")
        folder = path.absolute().parent
        if not folder.is_dir():
            raise StoreError(f"cannot write {path}: no such folder; make {folder} first")


def begin_writing(descriptor: int) -> None:
    """Have the disk begin with what was written so far, so that `fsync_file` finds less to do.

    Promises nothing, waits for nothing and says nothing of errors: that is for ``fsync``.
    """
    if (call := _sync_file_range()) is not None:
        whole_file, write = (0, 0), 2
        call(descriptor, *whole_file, write)


def let_go(descriptor: int) -> None:
    """Tell the system that nobody will read a file again, so that its memory serves others."""
    if hasattr(os, "posix_fadvise"):
        whole_file = (0, 0)
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, *whole_file, os.POSIX_FADV_DONTNEED)


@cache
def _sync_file_range() -> Any:
    """The call of the C library of Linux; others have none."""
    if sys.platform != "linux":
        return None
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable (nothing to do on Windows, which has no such call).

    XFS that has shut down after an error of its disk says of a folder that all is well, though
    its names are lost (seen with Linux 6.18); it does report the error when asked anything else.
    """
    if os.name == "nt":
        return
    with reported_os_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
            os.fstat(descriptor)
        finally:
            os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    with reported_os_errors(path):
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def publish(temporary: Path, final: Path) -> None:
    """Give a finished file its final name: fsync the file, rename, fsync the folder.

    Both paths are in one file system. Whatever had the final name is replaced at once.
    """
    fsync_file(temporary)
    with reported_os_errors(final):
        temporary.replace(final)
    fsync_folder(final.parent)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte to a raw descriptor, also where the system takes only some of them."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file whole: it has the old bytes or the new ones, never a mixture."""
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with reported_os_errors(path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                write_all(descriptor, data)
            finally:
                os.close(descriptor)
        publish(temporary, path)
    except StoreError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
