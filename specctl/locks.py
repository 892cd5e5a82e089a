"""One process at a time works in a folder, which the last one removes when its work is done.

The lock is ``flock`` on a file of the folder: the system lets it go with the process that holds
it, however that ends.
"""

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Callable
from pathlib import Path

from specctl.errors import StoreError
from specctl.presence import is_regular_file

LOCK = "lock"
"""Name of the file in the folder. Whoever removes the folder does so while holding the lock."""
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_MOST_RACES = 100
_MOST_BYTES_NAMED = 200


class _CannotLockError(StoreError):
    """A folder cannot be locked."""


def lock_folder(folder: Path, in_use: Callable[[str], str]) -> int:
    """An open file that holds the lock on a folder, which is made where there is none.

    Parameters
    ----------
    in_use : callable
        Turns who holds the lock, ``process 7 on host`` or nothing, into the message of the error.

    Raises
    ------
    StoreError
        If another process holds the lock, the folder is a link or a file, or its file system has
        no locks.
    OSError
        If the folder or the file in it cannot be made.
    """
    if folder.is_symlink() or is_regular_file(folder):
        raise StoreError(f"cannot write {folder}: it is no folder")
    for _ in range(_MOST_RACES):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            lock = _locked_unless_removed(folder, in_use)
            if lock is not None:
                return lock
    # then it is no other process that keeps removing it: this says what is wrong
    folder.mkdir(exist_ok=True)
    raise StoreError(f"cannot write {folder}: other processes keep removing it")


def unlock_folder(lock: int, folder: Path) -> None:
    """Let go of the lock, and of the folder where nothing is left in it.

    On a network and in FUSE a file that is removed while it is open stays under another name until
    it is closed: so does the lock itself, and with it a folder that was to be removed.
    """
    # nothing is lost with it: the lock ends with this process at the latest
    with contextlib.suppress(OSError):
        os.close(lock)
    with contextlib.suppress(OSError):
        folder.rmdir()


def check_unlocked(folder: Path, in_use: Callable[[str], str]) -> None:
    """Refuse a folder in which a process works; makes nothing, and several may look at once.

    Raises
    ------
    StoreError
        If a process holds the lock, or the file system has none.
    OSError
        If the file of the lock cannot be read.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _take(lock, fcntl.LOCK_SH, folder, in_use)
        finally:
            os.close(lock)


def _locked_unless_removed(folder: Path, in_use: Callable[[str], str]) -> int | None:
    """The lock, unless its holder has removed the folder at the same time."""
    folder.mkdir(exist_ok=True)
    path = folder / LOCK
    lock, is_new = _opened(path)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, lock)
        try:
            _take(lock, fcntl.LOCK_EX, folder, in_use)
        except _CannotLockError:
            # others may hold theirs all the same: where the memory for locks is used up, or only
            # this machine has none
            if is_new:
                with contextlib.suppress(OSError):
                    path.unlink()
                stack.pop_all()
                unlock_folder(lock, folder)
            raise
        if not os.path.samestat(os.fstat(lock), path.stat()):
            return None
        # for people only: a full disk is met again where it matters
        with contextlib.suppress(OSError):
            os.truncate(lock, 0)
            os.write(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        stack.pop_all()
    return lock


def _opened(path: Path) -> tuple[int, bool]:
    """The file of the lock, and whether it was made here."""
    how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, how | os.O_EXCL, 0o666), True
    except FileExistsError:
        return os.open(path, how, 0o666), False


def _take(lock: int, how: int, folder: Path, in_use: Callable[[str], str]) -> None:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(lock, _MOST_BYTES_NAMED).decode(errors="replace").strip()
        raise StoreError(in_use(holder)) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise _CannotLockError(
            f"cannot lock {folder}: {error.strerror}; its file system is mounted without locks "
            "(Lustre: -o flock); write to another one, and move what was written"
        ) from error
