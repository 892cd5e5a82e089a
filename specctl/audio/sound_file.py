"""libsndfile reading a file through a window in memory, without Python in between.

libmpg123 asks for 80 bytes at a time, two thousand times in half a minute of sound: as system
calls, they take a sixth of the time of decoding. Here libsndfile calls compiled functions, which
copy out of the window what it holds. Only what it does not hold is left to Python.
"""

import ctypes
import threading
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import soundfile

from specctl.audio.machine_code import machine_code
from specctl.audio.source import Piece, PieceFile, SourceFile

WINDOW = 2**16  # bytes
FIRST_WINDOW = 2**12  # bytes


class ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """A piece of a file, read by libsndfile from start to end only.

    soundfile seeks to where it already is after each read, which fails in FLAC at the end
    of a stream of undeclared length.

    Parameters
    ----------
    source : SourceFile
    piece : Piece
        What libsndfile takes for the whole file.
    **arguments : Any
        Of ``soundfile.SoundFile``, for a file without a header.

    Raises
    ------
    soundfile.LibsndfileError
        libsndfile refuses the file.
    OSError
        The file cannot be read.
    """

    def __init__(self, source: SourceFile, piece: Piece, **arguments: Any) -> None:
        self._bytes = PieceFile(source, piece)
        self._window: _Window | None = None
        try:
            super().__init__(self._bytes, "r", **arguments)
        finally:
            self._raise_error()

    def seekable(self) -> bool:
        """No."""
        return False

    def read(self, *args: Any, **kwargs: Any) -> Any:
        """As ``soundfile.SoundFile.read``."""
        try:
            return super().read(*args, **kwargs)
        finally:
            self._raise_error()

    @property
    def is_at_end(self) -> bool:
        """Whether libsndfile has been given all bytes, which it takes a few kilobytes ahead."""
        position = self._bytes.tell() if self._window is None else self._window.state.position
        return position >= self._bytes.length

    def _raise_error(self) -> None:
        if self._window is not None and self._window.error is not None:
            raise self._window.error

    def _open(self, _file: object, mode: int, _closefd: bool) -> object:
        # a soundfile that does not ask for this calls the methods of the piece itself
        library, ffi = soundfile._snd, soundfile._ffi
        self._functions = _functions()
        self._window = _Window(self._bytes)
        self._read_on = ffi.callback(
            "sf_vio_read", self._window.read_on, onerror=self._window.keep_error
        )
        self._window.state.read_on = int(ffi.cast("intptr_t", self._read_on))
        state = ffi.cast("void *", ctypes.addressof(self._window.state))
        with getattr(self, "_sf_error_lock", _opening):
            opened = library.sf_open_virtual(self._functions.table, mode, self._info, state)
            if opened == ffi.NULL:
                raise soundfile.LibsndfileError(library.sf_error(ffi.NULL))
        return opened


_opening = threading.Lock()
"""libsndfile has one place for the error of a file that it does not open."""


class _State(ctypes.Structure):
    """What the compiled functions know of a file, in their order."""

    _fields_ = (
        ("position", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("start", ctypes.c_int64),  # of the window in the file
        ("n_held", ctypes.c_int64),
        ("window", ctypes.c_void_p),
        ("read_on", ctypes.c_void_p),  # called as ``read`` for what the window does not hold
    )


class _Window:
    """Some bytes of a file, and where libsndfile is in it."""

    def __init__(self, file: PieceFile) -> None:
        self.error: BaseException | None = None
        self._file = file
        self._memory = np.empty(WINDOW, np.uint8)
        self.state = _State(length=file.length, window=self._memory.ctypes.data)

    def read_on(self, out: Any, count: int, _: object) -> int:
        """Read as libsndfile asks."""
        return self._read_into(memoryview(soundfile._ffi.buffer(out, count)))

    def keep_error(self, _kind: object, error: BaseException, _traceback: object) -> None:
        """What ``read_on`` raises waits in ``error`` until libsndfile, told of 0 bytes, returns.

        No ``try`` in ``read_on`` would see all of it: Ctrl-C that came while libsndfile was at
        work is raised before its first line.
        """
        self.error = error

    def _read_into(self, view: memoryview) -> int:
        state, n_read = self.state, 0
        while n_read < len(view):
            self._file.seek(state.position)
            n_left = len(view) - n_read
            if n_left >= WINDOW:
                n_more = self._file.readinto(view[n_read:])
            else:
                # who has just jumped may jump again, as to find tags at the end
                is_onward = 0 < state.position - state.start <= state.n_held
                window = self._memory.data[: WINDOW if is_onward else FIRST_WINDOW]
                state.start = state.position
                state.n_held = self._file.readinto(window)
                n_more = min(n_left, state.n_held)
                view[n_read : n_read + n_more] = self._memory.data[:n_more]
            if n_more == 0:
                break
            n_read += n_more
            state.position += n_more
        return n_read


class _Functions(NamedTuple):
    """What libsndfile calls; ``engine`` keeps it in memory."""

    table: Any
    engine: Any


@cache
def _functions() -> _Functions:
    engine = machine_code()
    ffi = soundfile._ffi
    table = ffi.new("SF_VIRTUAL_IO *")
    for name in ("get_filelen", "seek", "read", "tell"):
        address = engine.get_function_address(name)
        setattr(table, name, ffi.cast(f"sf_vio_{name}", address))
    return _Functions(table, engine)
