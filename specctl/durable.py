"""Writing files so that they are complete or absent, also after a power cut.

A rename alone is not enough: without ``fsync`` of the file, a file system may publish the name
before the bytes; without ``fsync`` of the folder, the name itself may be lost.
"""

import contextlib
import ctypes
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from specctl.errors import ParameterError, StoreError
from specctl.presence import exists, is_folder, is_regular_file

_START_BYTES = (1 << 20) + 8
"""Room for the longest header of a basis file."""
_NOT_FOR_FOLDERS = (errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP)
"""Of ``fsync``: no such call there, which is no error of the disk. PostgreSQL takes it so, too."""

_HAS_EFFECTIVE_IDS = os.access in os.supports_effective_ids


class Kind(NamedTuple):
    """A kind of file that is written here; ``begins`` tells it by its first bytes."""

    name: str
    plural: str
    begins: Callable[[bytes], bool]


HTML = Kind(
    "HTML file",
    "HTML files",
    lambda start: start.lstrip()[:14].lower() == b"<!doctype html",
)
JSON = Kind("JSON file", "JSON files", lambda start: start.lstrip()[:1] in (b"{", b"[", b""))


@contextlib.contextmanager
def reported_os_errors(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn an ``OSError`` into ``cannot write {path}: {reason}``; the cause stays chained."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot {doing} {path}: {error.strerror or error}") from error


def is_there(path: Path) -> bool:
    """Whether there is anything under a name; StoreError where the system does not tell."""
    with reported_os_errors(path, "read"):
        return exists(path)


def real_place(path: str | Path) -> Path:
    """Where a file is to be written, which is not where a symbolic link to it lies."""
    # unlike those of pathlib, these take names of any length
    is_link = os.path.islink(path)  # noqa: PTH114
    return Path(os.path.realpath(path) if is_link else path)


def check_place(path: Path) -> None:
    """Refuse before the work a file that could not be written after it.

    Raises
    ------
    StoreError
        The path is that of a folder, lies in one that is not there, or leads nowhere.
    """
    if "\0" in str(path):
        raise StoreError(f"cannot write {str(path)!r}: NUL in its name")
    with reported_os_errors(path):
        if is_folder(path):
            raise StoreError(f"cannot write {path}: it is a folder")
        if os.path.islink(os.path.realpath(path)):  # noqa: PTH114
            raise StoreError(f"cannot write {path}: symbolic links that lead in a circle")
        folder = path.absolute().parent
        if not is_folder(folder):
            raise StoreError(f"cannot write {path}: no such folder; make {folder} first")


def check_writable(folder: Path, what: str) -> None:
    """Refuse before the work a folder in which this user may not write.

    Parameters
    ----------
    what : str
        What was to lie there: ``the store``.

    Raises
    ------
    StoreError
        The folder may not be written to.
    """
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=_HAS_EFFECTIVE_IDS):
        raise StoreError(f"cannot write in {folder}; give {what} another folder")


def check_replaced(path: Path, kind: Kind, option: str = "--overwrite") -> None:
    """Refuse before the work to replace a file of another kind than the one that is written.

    Nothing is lost with a file that is missing or empty.

    Parameters
    ----------
    option : str
        What asks for the file to be replaced.

    Raises
    ------
    StoreError
        The file is of another kind, is no regular file, cannot be read, or is not to be replaced
        by this user.
    """
    check_owner(path)
    with reported_os_errors(path):
        if not exists(path):
            return
        start = b""
        if is_regular := is_regular_file(path):
            with path.open("rb") as file:
                start = file.read(_START_BYTES)
    if not is_regular or (start and not kind.begins(start)):
        raise StoreError(f"{path} is no {kind.name}; {option} replaces {kind.plural} only")


def check_owner(path: Path) -> None:
    """Refuse before the work to replace a file of somebody else in a folder such as ``/tmp``.

    Raises
    ------
    StoreError
        The sticky bit of the folder keeps the file for its owner.
    """
    if os.name == "nt":
        return
    with reported_os_errors(path):
        try:
            owner = path.lstat().st_uid
        except FileNotFoundError:
            return
        folder = path.absolute().parent.stat()
    if folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, owner, folder.st_uid):
        raise StoreError(
            f"cannot write {path}: in this folder (its sticky bit is set) only its owner may "
            "replace it; use a folder of your own"
        )


def check_distinct(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """Refuse before the work to write over what is read, or over another thing that is written.

    Parameters
    ----------
    outputs, inputs : dict
        Files by the names of the options that give them; ``None`` is left out.

    Raises
    ------
    ParameterError
        An output is the same file as an input or another output.
    """
    written = [(name, path) for name, path in outputs.items() if path is not None]
    read = [(name, path) for name, path in inputs.items() if path is not None]
    for (name, path), (other, there) in [
        *combinations(written, 2),
        *((output, given) for output in written for given in read),
    ]:
        if _is_same(path, there):
            raise ParameterError(f"{name} must be another file than {other}, both are {path}")


def _is_same(path: Path, other: Path) -> bool:
    """Whether two names lead to one file, there or not."""
    with reported_os_errors(path):
        # what is made later has no identity yet; hard links have no common path
        if os.path.realpath(path) == os.path.realpath(other):
            return True
        return exists(path) and exists(other) and path.samefile(other)


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

    Some disks of a network have none for folders either.

    XFS that has shut down after an error of its disk says of a folder that all is well, though
    its names are lost (seen with Linux 6.18); it does report the error when asked anything else.
    """
    if os.name == "nt":
        return
    with reported_os_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                os.fsync(descriptor)
            except OSError as error:
                if error.errno not in _NOT_FOR_FOLDERS:
                    raise
            os.fstat(descriptor)
        finally:
            os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make the bytes of a file durable, which may be one that nobody may write to."""
    with reported_os_errors(path):
        # Windows wants to write what it is to make durable
        descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
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


def read_all(descriptor: int, n_bytes: int, offset: int) -> bytes:
    """Bytes of a file from ``offset`` on, also where the system gives only some of them.

    There are fewer than ``n_bytes`` only at the end of the file.
    """
    data = os.pread(descriptor, n_bytes, offset)
    while 0 < len(data) < n_bytes:
        more = os.pread(descriptor, n_bytes - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file whole: it has the old bytes or the new ones, never a mixture."""
    # no name that somebody else can have put there before
    temporary = path.with_name(f"{path.name}.tmp-{secrets.randbits(62)}")
    try:
        with reported_os_errors(path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                write_all(descriptor, data)
            finally:
                os.close(descriptor)
        publish(temporary, path)
    except StoreError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
