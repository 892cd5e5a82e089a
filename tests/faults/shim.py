"""Makes one system call of a conversion fail, in a process that a test has started.

All calls that touch a folder are counted, from 0; the one with a given number then fails. The
calls are those of Python, which are all by which specctl writes: HDF5 writes through a file
object of Python.
"""

import builtins
import contextlib
import errno
import fcntl
import io
import json
import os
import re
import shutil  # noqa: F401 - looks at the functions of os while it is imported
import signal
import struct
from collections.abc import Callable
from typing import Any

DEATHS = ("kill", "torn")
ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS", "EACCES", "EMFILE")
"""A short write is none: the system may do that at any time, and the run must go on."""
WRITES = ("write", "pwrite")
QUIET = ("look", "stat", "close")
"""Calls that change nothing."""
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2
"""FS_IOC_SHUTDOWN of ext4, XFS and F2FS, and its flag that leaves the log unwritten."""
_NUMBERS = re.compile(r"tmp-\d+")
"""A process id, which is another one each time."""
_SPARED = {
    # a full disk stays full; what needs no room works all the same
    "ENOSPC": ("unlink", "rmdir", "flock", "fsync", "close", "look", "stat", "shrink"),
    "EDQUOT": ("unlink", "rmdir", "flock", "fsync", "close", "look", "stat", "shrink"),
    "EROFS": ("look", "stat", "close", "flock"),
    "EMFILE": (
        "write",
        "pwrite",
        "fsync",
        "close",
        "ftruncate",
        "shrink",
        "rename",
        "unlink",
        "rmdir",
        "stat",
    ),
}


class Shim:
    """The calls that touch ``place``, of which one may fail.

    Parameters
    ----------
    place : str
        Folder; calls on it and on what is in it count.
    point : int or str, optional
        The call that fails: its number, or how its line of ``log`` begins; ``None`` fails none.
    fault : str
        ``kill`` the process before the call; ``torn``: after half of a write or all of another
        call; ``short``: only half of a write is done; ``power``: the file system stops for good
        before the call, see `cut_power`, and the process with it; ``outage``: the file system
        alone does, and the call finds that; else the name of an error.
    lasting : bool
        Whether later calls fail too.
    role : str
        ``parent`` or ``worker``: whose calls these are; with ``all`` every process counts alone.
    token : str
        File that does not exist yet: of several processes only the one that makes it has the
        fault.
    log : str
        File that gets a line ``kind path`` for each call before it is made.
    acks : str
        File that gets a line ``pid kind path`` for each call that has been made, or ``pid failed
        kind path``.
    lies : bool
        Whether ``fsync`` does nothing and says that all is well.
    """

    def __init__(
        self,
        place: str,
        point: int | str | None = None,
        fault: str = "kill",
        lasting: bool = False,
        role: str = "all",
        token: str = "",
        log: str = "",
        acks: str = "",
        lies: bool = False,
    ) -> None:
        self.place, self.point, self.fault, self.lasting = place, point, fault, lasting
        self.role, self._token, self._log = role, token, log
        self._acks, self._lies = acks, lies
        self.count = 0
        self.is_off = False
        self._has_struck = False
        self._real = {name: getattr(os, name) for name in _CALLS}
        self._real_flock, self._real_open = fcntl.flock, builtins.open

    def install(self) -> None:
        """Take the place of the functions in this process and those it forks."""
        for name, (kind, is_descriptor) in _CALLS.items():
            setattr(os, name, self._wrapped(self._real[name], kind, is_descriptor))
        fcntl.flock = self._wrapped(self._real_flock, "flock", True)
        builtins.open = io.open = self._wrapped(self._real_open, "open", False)

    def restart(self) -> None:
        """Count from 0 again."""
        self.count, self._has_struck = 0, False

    def _wrapped(
        self, real: Callable[..., Any], kind: str, is_descriptor: bool
    ) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            path = "" if self.is_off else self._path(args[0], is_descriptor, kwargs)
            if not (path == self.place or path.startswith(self.place + "/")):
                return real(*args, **kwargs)
            return self._counted(real, _kind(kind, args), path, args, kwargs)

        return call

    def _path(self, given: Any, is_descriptor: bool, kwargs: dict[str, Any]) -> str:
        try:
            if is_descriptor or isinstance(given, int):
                number = given if isinstance(given, int) else given.fileno()
                return os.readlink(f"/proc/self/fd/{number}")
            path = os.fsdecode(given)
            if kwargs.get("dir_fd") is not None:
                path = os.path.join(os.readlink(f"/proc/self/fd/{kwargs['dir_fd']}"), path)
            return os.path.abspath(path)
        except (OSError, TypeError, ValueError):
            return ""

    def _counted(
        self,
        real: Callable[..., Any],
        kind: str,
        path: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        number, self.count = self.count, self.count + 1
        line = f"{kind} {_NUMBERS.sub('tmp', os.path.relpath(path, self.place))}"
        if isinstance(self.point, str) and line.startswith(self.point):
            self.point = number
        self._note(self._log, line)
        strikes = self._strikes(number, kind)
        if strikes and self.fault == "outage":
            self._cut_power()
            strikes = False
        if not strikes:
            try:
                done = None if self._lies and kind == "fsync" else real(*args, **kwargs)
            except OSError:
                self._note(self._acks, f"{os.getpid()} failed {line}")
                raise
            self._note(self._acks, f"{os.getpid()} {line}")
            return done
        return self._fail(real, kind, path, args, kwargs)

    def _note(self, path: str, line: str) -> None:
        if path:
            file = self._real["open"](path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            self._real["write"](file, f"{line}\n".encode())
            self._real["close"](file)

    def _fail(
        self,
        real: Callable[..., Any],
        kind: str,
        path: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if self.fault == "power":
            self._cut_power()
        if self.fault in ("kill", "power"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault in ("torn", "short"):
            done = real(args[0], _half(args[1]), *args[2:]) if kind in WRITES else None
            if self.fault == "short":
                return done if kind in WRITES else real(*args, **kwargs)
            with contextlib.suppress(OSError):
                # one that fails of itself is over just the same
                if kind not in WRITES:
                    real(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "close":
            # the descriptor is gone also where the system reports an error
            real(*args, **kwargs)
        code = getattr(errno, self.fault)
        raise OSError(code, os.strerror(code), path)

    def _cut_power(self) -> None:
        self.is_off = True
        cut_power(self.place)
        self.is_off = False

    def _strikes(self, number: int, kind: str) -> bool:
        if not isinstance(self.point, int) or number < self.point:
            return False
        if number == self.point:
            self._has_struck = self._takes_token()
            return self._has_struck
        return self._has_struck and self.lasting and kind not in _SPARED.get(self.fault, ())

    def _takes_token(self) -> bool:
        if not self._token:
            return True
        try:
            made = self._real["open"](self._token, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return False
        self._real["close"](made)
        return True


_CALLS = {
    "open": ("open", False),
    "write": ("write", True),
    "pwrite": ("pwrite", True),
    "fsync": ("fsync", True),
    "ftruncate": ("ftruncate", True),
    "truncate": ("truncate", False),
    "replace": ("rename", False),
    "rename": ("rename", False),
    "unlink": ("unlink", False),
    "remove": ("unlink", False),
    "mkdir": ("mkdir", False),
    "rmdir": ("rmdir", False),
    "close": ("close", True),
    "fstat": ("look", True),
    "stat": ("stat", False),
    "lstat": ("stat", False),
}
"""Name in ``os`` to the system call and whether it is given a descriptor."""


def _kind(kind: str, args: tuple[Any, ...]) -> str:
    """The call, told apart by what it does where that matters to a full disk."""
    if kind == "open":
        how = args[1] if len(args) > 1 else "r"
        creates = how & os.O_CREAT if isinstance(how, int) else set(how) & set("wax")
        return "open" if creates else "look"
    if kind in ("truncate", "ftruncate") and args[1] == 0:
        return "shrink"
    return kind


def _half(data: Any) -> memoryview:
    view = memoryview(data).cast("B")
    return view[: max(1, len(view) // 2)]


def cut_power(place: str) -> None:
    """Stop the file system of a folder as a power cut would: what is not on its disk is lost."""
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    finally:
        os.close(folder)


def installed(settings: str) -> Shim:
    """A shim in place, as JSON describes it."""
    shim = Shim(**json.loads(settings))
    shim.install()
    return shim
