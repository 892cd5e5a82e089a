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
        # behind a folder that is not there, ".." is one for the text and none for the system
        is_plain = name not in (b"", b".") and b".." not in path.split(b"/")
        if not is_plain or os.path.islink(path):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)
