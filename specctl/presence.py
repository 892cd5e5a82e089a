"""Whether something is there; what cannot be looked at is an error, and not absent.

From Python 3.14 on, ``Path.exists``, ``is_dir`` and ``is_file`` take any error for absence: where
a disk fails for a moment, work that is there would seem not to be.
"""

import errno
import stat
from pathlib import Path

NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Of what is not there, also behind links, which may lead in a circle."""


def exists(path: Path) -> bool:
    """Whether there is anything; an ``OSError`` where that cannot be told."""
    return _mode(path) is not None


def is_folder(path: Path) -> bool:
    """Whether there is a folder, or a link to one; an ``OSError`` where that cannot be told."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def is_regular_file(path: Path) -> bool:
    """Whether there is a regular file, or a link to one; an ``OSError`` as above."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError as error:
        if error.errno in NOWHERE:
            return None
        raise
    except ValueError:
        # NUL, which no name has
        return None
