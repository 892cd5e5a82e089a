"""The process that workers are forked from: it imports what they need and does nothing else."""

import multiprocessing.util
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from types import TracebackType
from typing import Any

from specctl.convert.temporary import temporary_folder
from specctl.errors import StoreError
from specctl.words import counted

GROUP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
_LONGEST_FOLDER = 60  # bytes; of 107 that the name of a socket may have
_FILES, _FILES_OF_A_WORKER = 12, 3
"""Descriptors in use at once, by measurement."""
_MOST_SECONDS_TO_END, _LOOK_SECONDS = 1.0, 0.01
_starting = threading.Lock()
_HOME = Path(__file__).absolute().parents[2]


def begin_fork_server(*modules: str) -> None:
    """Start the process, which imports ``modules``; there is one for all who ask.

    Raises
    ------
    StoreError
        There is no current folder any longer, or none for temporary files.
    """
    forkserver.set_forkserver_preload(list(modules))
    ensure_fork_server()


def ensure_fork_server() -> None:
    """Have the process; no signal to the whole group ends it, not even while it imports."""
    with _starting, _imports_as_here(), _reported():
        # starting this one, as the fork server would, unblocks the signals
        resource_tracker.ensure_running()
        _have_folder_for_sockets()
        _forget_that_of_another()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(
            f"cannot start workers: {reason}; pass --workers 0 to do without"
        ) from error


def check_open_files(n_workers: int) -> None:
    """Refuse workers for which this process may not have enough files open.

    The server ends with a traceback where it is sent one too many.

    Raises
    ------
    StoreError
        The limit is too low.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FILES + _FILES_OF_A_WORKER * n_workers
    if limit in (resource.RLIM_INFINITY, -1) or limit >= needed:
        return
    fitting = max(0, (limit - _FILES) // _FILES_OF_A_WORKER)
    raise StoreError(
        f"cannot start {counted(n_workers, 'worker')}: {limit} files may be open at a time, "
        f"{needed} are needed; allow more with ulimit -n, or pass --workers {fitting}"
    )


def no_process(n_workers: int) -> StoreError:
    """The error of a server that could not fork the last of so many workers."""
    return StoreError(
        f"cannot start {counted(n_workers, 'worker')}: there is no process for the last one; "
        f"allow more memory or processes (ulimit -u), or pass --workers {n_workers - 1}"
    )


def await_end_of_server() -> None:
    """Wait a moment for a server that was killed: it has no successor before it has ended."""
    server: Any = forkserver._forkserver
    end = time.monotonic() + _MOST_SECONDS_TO_END
    while server._forkserver_pid is not None and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
        try:
            if _has_ended(server._forkserver_pid):
                return
        except ChildProcessError:
            return


def leave_errors_to_parent() -> None:
    """Have this process, if it is the server, end without a traceback where it cannot fork."""

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, OSError):
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = say


def _forget_that_of_another() -> None:
    """Leave the server to the process that this one was forked from, and that is its parent."""
    server: Any = forkserver._forkserver
    if server._forkserver_pid is None:
        return
    try:
        _has_ended(server._forkserver_pid)
    except ChildProcessError:
        # open here, it would keep the server alive when its parent is gone
        with suppress(OSError):
            os.close(server._forkserver_alive_fd)
        server._forkserver_pid = server._forkserver_address = server._forkserver_alive_fd = None


def _has_ended(pid: int) -> bool:
    """Whether a child has, which it is left to multiprocessing to clear away.

    Raises
    ------
    ChildProcessError
        It is none of this process.
    """
    # macOS cannot say before Python 3.13
    if not hasattr(os, "waitid"):
        return False
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _have_folder_for_sockets() -> None:
    """Have multiprocessing put its sockets where their names fit, which the system limits.

    The folder for temporary files of a cluster's job may be too deep.
    """
    given = tempfile.tempdir
    tempfile.tempdir = temporary_folder(_LONGEST_FOLDER)
    try:
        # made now, and kept for all sockets of this process
        multiprocessing.util.get_temp_dir()
    finally:
        tempfile.tempdir = given


@contextmanager
def _imports_as_here() -> Iterator[None]:
    """Have a Python that is started import what this one would.

    By itself it looks into the current folder first, and takes a user's ``random.py`` there for
    the library's.
    """
    given = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(_search_path())}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _search_path() -> list[str]:
    """``sys.path`` without the current folder, unless specctl itself is imported from there."""
    try:
        here = Path.cwd()
    except OSError as error:
        # and multiprocessing asks for it
        raise StoreError("cannot start workers: the current folder is gone") from error
    entries = [here / entry for entry in sys.path]
    return [str(entry) for entry in entries if entry != here or here == _HOME]
