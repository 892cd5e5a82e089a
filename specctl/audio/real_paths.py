"""Paths without symbolic links, of hundreds of thousands of names in a few folders."""

# names are bytes in here, which pathlib cannot hold
# ruff: noqa: PTH114, PTH118

import os


class RealPaths:
    """What ``os.path.realpath`` gives, with each folder followed once for all that is in it."""

    def __init__(self) -> None:
        self._folders: dict[bytes, bytes] = {}

    def of(self, path: bytes) -> bytes:
        """The same file or folder by a name without links."""
        folder, name = os.path.split(path)
        if name in (b"", b".", b"..") or os.path.islink(path):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)
