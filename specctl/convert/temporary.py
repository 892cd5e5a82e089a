"""Where files of a moment lie: in the folder for such files, or in another that may be had."""

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from specctl.durable import reported_os_errors
from specctl.errors import StoreError

_OTHERS = ("/tmp", "/var/tmp", "/dev/shm")
"""In a container with a file system that is read only, the last one may be written to."""


def temporary_folder(longest: float = math.inf) -> str:
    """A folder whose name has so many bytes at most.

    Raises
    ------
    StoreError
        There is none that may be written to.
    """
    for folder in _folders():
        if len(os.fsencode(folder)) <= longest:
            return folder
    raise StoreError("no folder for temporary files may be written to; set TMPDIR to one")


@contextmanager
def temporary_place() -> Iterator[Path]:
    """A folder of one's own, which goes with all that is in it."""
    folder = temporary_folder()
    with reported_os_errors(Path(folder)):
        made = tempfile.TemporaryDirectory(prefix="specctl-", dir=folder)
    with made as name:
        yield Path(name)


def _folders() -> Iterator[str]:
    with suppress(FileNotFoundError):
        yield tempfile.gettempdir()
    yield from (folder for folder in _OTHERS if os.access(folder, os.W_OK | os.X_OK))
