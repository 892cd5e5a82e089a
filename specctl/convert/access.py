"""Who may use a store: the same while it is made anew, and after that.

With an access-control list, the mode of a file has the mask of the list where the rights of its
group stand else. Whoever takes the mode for the rights may give a group what it never had.
"""

import contextlib
import os
import stat
import struct
from pathlib import Path

_LIST = "system.posix_acl_access"
_VERSION_BYTES = 4
_ENTRY = "<HHI"
_OWN_GROUP = 4
"""Tag of the rights that the group of a file itself has."""


def copy_access(old: Path, new: Path) -> None:
    """Let those use a file who may use another one, and nobody else, as far as the system lets us.

    Nothing to do where there is no other one, or on a file system without such rights.
    """
    with contextlib.suppress(OSError):
        status = old.stat()
        # only root gives files away, but to a group of one's own they can go
        for owner in (status.st_uid, -1):
            with contextlib.suppress(OSError):
                os.chown(new, owner, status.st_gid)
                break
        access_list = _access_list(old)
        if _access_list(new):
            # its folder has given it one
            os.removexattr(new, _LIST)
        new.chmod(_mode_for(old, new))
        if access_list and new.stat().st_gid == status.st_gid:
            os.setxattr(new, _LIST, access_list)


def close_to_strangers(folder: Path, file: Path) -> None:
    """Let nobody into a folder who may not read a file, if that is there."""
    with contextlib.suppress(OSError):
        readers = _mode(file)
        if readers & stat.S_IRGRP and readers & stat.S_IROTH:
            # nobody is a stranger: a group that shares the folder around goes on with the work
            return
        with contextlib.suppress(OSError):
            os.chown(folder, -1, file.stat().st_gid)
        readers, allowed = _mode_for(file, folder), 0o7700
        if readers & stat.S_IRGRP:
            allowed |= stat.S_IRWXG
        if readers & stat.S_IROTH:
            allowed |= stat.S_IRWXO
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & ~allowed:
            folder.chmod(mode & allowed)


def _mode_for(file: Path, other: Path) -> int:
    """The mode of a file for another one, whose group may be nobody that the file knows."""
    mode = _mode(file)
    if other.stat().st_gid != file.stat().st_gid:
        mode = mode & ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
    return mode


def _mode(file: Path) -> int:
    """The mode of a file, with the rights of its group also where there is a list."""
    mode = stat.S_IMODE(file.stat().st_mode)
    for tag, rights, _ in struct.iter_unpack(_ENTRY, _access_list(file)[_VERSION_BYTES:]):
        if tag == _OWN_GROUP:
            mode &= ~stat.S_IRWXG | rights << 3
    return mode


def _access_list(file: Path) -> bytes:
    """The access-control list of a file, empty where it or the system has none."""
    if not hasattr(os, "getxattr"):
        return b""
    try:
        return os.getxattr(file, _LIST)
    except OSError:
        return b""
