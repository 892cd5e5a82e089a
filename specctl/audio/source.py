"""One regular file behind one descriptor, and read-only views into it."""

import hashlib
import io
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from specctl.audio import reasons
from specctl.audio.scratch import scratch
from specctl.audio.times import modification_time
from specctl.durable import read_all
from specctl.errors import AudioError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class SourceFile:
    """A regular file, opened once; every later read goes through the same descriptor.

    A name can be given to another file at any moment, a descriptor cannot. Opening never
    waits, so a FIFO is refused, not waited for.

    Parameters
    ----------
    path : str
        As ``os.fsdecode`` gives it; names that are not UTF-8 are fine.

    Attributes
    ----------
    size : int
        Bytes at the time of opening.
    mtime_ns : int
        Time of the last modification at the time of opening.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise AudioError(reasons.system_reason(error)) from error
        try:
            status = os.fstat(self.fd)
            if not stat.S_ISREG(status.st_mode):
                raise AudioError(reasons.NOT_REGULAR)
            if status.st_size == 0:
                raise AudioError(reasons.EMPTY_FILE)
        except BaseException:
            os.close(self.fd)
            raise
        self.size, self.mtime_ns = status.st_size, modification_time(status)
        self._digest: hashlib._Hash | None = None
        self._n_hashed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """Bytes from ``offset`` on, fewer than asked for only at the end of the file."""
        n_bytes = max(0, min(n_bytes, self.size - offset))
        data = read_all(self.fd, n_bytes, offset)
        self._hash(offset, data)
        return data

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill a view with bytes from ``offset`` on; how many one call gets."""
        n_read = os.preadv(self.fd, [view], offset)
        self._hash(offset, view[:n_read])
        return n_read

    def has_changed(self) -> bool:
        """Whether size or modification time differ from those at the time of opening."""
        status = os.fstat(self.fd)
        return (status.st_size, modification_time(status)) != (self.size, self.mtime_ns)

    def begin_hash(self) -> None:
        """Have `sha256` know what is read from now on, if it is read in order."""
        self._digest, self._n_hashed = hashlib.sha256(), 0

    def sha256(self) -> str:
        """Hex digest of all bytes of the file, which had `size` of them when it was opened."""
        if self._digest is None:
            self.begin_hash()
        view = scratch()
        while self._n_hashed < self.size and self.read_into(view, self._n_hashed):
            pass
        return self._digest.hexdigest() if self._digest is not None else ""

    def _hash(self, offset: int, data: "Buffer") -> None:
        n_known = self._n_hashed - offset
        view = memoryview(data)
        if self._digest is not None and 0 <= n_known < len(view):
            self._digest.update(view[n_known:])
            self._n_hashed = offset + len(view)


class Piece(NamedTuple):
    """What a decoder is given instead of the whole file: ``prefix + file[start:stop]``."""

    prefix: bytes
    start: int
    stop: int
    skip: int = 0
    """Samples to leave out at the start of what comes of it."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What a file's own structure says, before anything is decoded.

    Attributes
    ----------
    pieces : tuple of Piece
        To be decoded one after another; empty for the file as it is.
    n_samples : int, optional
        Samples a channel, where the structure fixes them without a decoder; those that
        are left of a file that is cut.
    is_cut : bool
        The file ends before its structure does.
    doubt : str
        Why there may have been more than the decoder will find, in the words of the reason.
    is_estimate : bool
        The number of samples that libsndfile reports is a guess.
    is_gsm : bool
        Headerless GSM 06.10, which only the name tells.
    """

    pieces: tuple[Piece, ...] = ()
    n_samples: int | None = None
    is_cut: bool = False
    doubt: str = ""
    is_estimate: bool = False
    is_gsm: bool = False


class PieceFile(io.RawIOBase):
    """Seekable binary file over a :class:`Piece`; several share a descriptor, not a position.

    Attributes
    ----------
    length : int
        In bytes.
    """

    def __init__(self, source: SourceFile, piece: Piece) -> None:
        self._source = source
        self._piece = piece
        self.length = len(piece.prefix) + piece.stop - piece.start
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Offset of the next read in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to ``offset`` bytes from the start, the position or the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: "Buffer") -> int:
        """Fill ``buffer`` as far as the piece goes and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        prefix, start = self._piece.prefix, self._piece.start
        wanted = min(len(view), self.length - self._position)
        if wanted <= 0:
            return 0
        if self._position < len(prefix):
            data = prefix[self._position : self._position + wanted]
            view[: len(data)] = data
            n_read = len(data)
        else:
            offset = start + self._position - len(prefix)
            n_read = self._source.read_into(view[:wanted], offset)
        self._position += n_read
        return n_read
