"""Reading small files that people hand over: settings, tables of labels, lists of files.

Each may be a mistake or a stranger's: a device without end, a disk image, a folder.
"""

import os
import stat
from pathlib import Path

from specctl.errors import ParameterError

MAX_SETTINGS_BYTES = 1 << 20
MAX_TABLE_BYTES = 1 << 30
"""Room for ten million lines of a hundred bytes."""


def check_given(path: Path, what: str, max_bytes: int) -> None:
    """Raise ParameterError unless a path is a regular file of at most ``max_bytes``.

    Parameters
    ----------
    what : str
        What the file should be: ``settings``.

    Raises
    ------
    ParameterError
        The file is missing, is not a regular file, or is too large.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - a name with NUL raises ValueError
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ParameterError(f"cannot read {what}: {path}: {reason}") from error
    if stat.S_ISDIR(status.st_mode):
        raise ParameterError(f"cannot read {what}: {path}: Is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise ParameterError(f"cannot read {what}: {path}: not a regular file")
    if status.st_size > max_bytes:
        raise ParameterError(
            f"{what} must be at most {max_bytes} bytes, {path} has {status.st_size}"
        )


def check_finite(path: Path, what: str, max_bytes: int) -> None:
    """As `check_given`, but what comes through a pipe is good: whoever writes it ends it."""
    if not path.is_fifo():
        check_given(path, what, max_bytes)
