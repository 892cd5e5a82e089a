"""Audio files as blocks of float32 samples that are proven complete, or an error."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Self

import numpy as np

from specctl.audio import reasons
from specctl.audio.info import AudioInfo, Decoder, Room, Samples
from specctl.audio.probe import DECODING_ERRORS, choose_decoder, describe
from specctl.audio.source import SourceFile
from specctl.errors import AudioError

Guard = Callable[[], AbstractContextManager[None]]

MIN_BLOCK_LENGTH = 4096  # samples
BLOCK_SIZE = 2**18  # samples of all channels together: 1 MiB
MAX_ENERGY = 1e30  # a block of 2**24 samples at 1e11 stays below
NOT_OF_FILE = (OSError, MemoryError)  # what the system is to blame for
MAX_PEAK = 1e12  # integers of 32 bits kept as floats reach 2e9


def open_audio(
    path: str, *, allow_truncated: bool = False, hashed: bool = False, guard: Guard = nullcontext
) -> "AudioReader":
    """Open a file and check what can be known before decoding.

    Parameters
    ----------
    path : str
        As ``os.fsdecode`` gives it.
    allow_truncated : bool
        Take a file that is cut short for as much of it as can be decoded.
    hashed : bool
        Take the hash of what is read for the decoder, so that ``sha256`` after decoding has
        little left to read, and is that of the bytes that were decoded.
    guard : callable
        Gives a context manager, which is entered around all that a decoder does.

    Raises
    ------
    AudioError
        With the reason alone, without the path: the caller says which file.
    """
    source = SourceFile(path)
    try:
        if hashed:
            source.begin_hash()
        return AudioReader(source, allow_truncated=allow_truncated, guard=guard)
    except BaseException:
        source.close()
        raise


class AudioReader:
    """An open audio file; use it as a context manager.

    Attributes
    ----------
    info : AudioInfo
    size : int
        Bytes of the file at the time of opening.
    mtime_ns : int
        Time of its last modification at the time of opening.
    block_length : int
        Samples in each block but the last; depends on the number of channels only.
    cut : str
        Why samples are missing at the end of a file that is cut short, or may be, which is
        known at the latest after the last block; empty for a whole one.
    """

    def __init__(
        self, source: SourceFile, *, allow_truncated: bool = False, guard: Guard = nullcontext
    ) -> None:
        self._source = source
        self._allow_truncated = allow_truncated
        self._guard = guard
        self.size, self.mtime_ns = source.size, source.mtime_ns
        try:
            with guard():
                choice = choose_decoder(source)
            self.cut = choice.cut
            if self.cut and choice.is_certain and not allow_truncated:
                raise AudioError(self.cut)
        except AudioError as error:
            if source.has_changed():
                raise AudioError(reasons.CHANGED) from error
            raise
        self._decoder: Decoder = choice.decoder
        self.info: AudioInfo = choice.decoder.info
        self.block_length = max(MIN_BLOCK_LENGTH, BLOCK_SIZE // self.info.n_channels)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._source.close()

    def sha256(self) -> str:
        """Hex digest of all bytes of the file.

        Raises
        ------
        AudioError
            The file cannot be read, or changed since it was opened.
        """
        try:
            digest = self._source.sha256()
            has_changed = self._source.has_changed()
        except OSError as error:
            raise AudioError(reasons.system_reason(error)) from error
        if has_changed:
            raise AudioError(reasons.CHANGED)
        return digest

    def blocks(self, room: Room | None = None) -> Iterator[Samples]:
        """Read the file from its start.

        Each call starts over. Only one iterator can be in use at a time, and without ``room``
        each block is overwritten by the next: copy what has to stay.

        Parameters
        ----------
        room : callable, optional
            Gives memory for the next block, up to `block_length` samples; not all of it may be
            used, and a block may come in other memory for all that.

        Yields
        ------
        (samples, channels), float32, C-contiguous
            Full scale is 1; `block_length` samples in all blocks but the last.

        Raises
        ------
        AudioError
            The file is damaged, shorter than it declares and not allowed to be, holds values
            that are no sound, or changed since it was opened.
        """
        n_read = 0
        for block in self._decoded(room):
            if self._decoder.may_be_non_finite:
                _check_finite(block, n_read, self.info.sample_rate)
            n_read += len(block)
            yield block
        if self._source.has_changed():
            raise AudioError(reasons.CHANGED)
        if n_read < (self._decoder.n_expected or 0):
            self.cut = self.cut or reasons.cut_short(n_read / self.info.sample_rate)
            if not self._allow_truncated:
                raise AudioError(self.cut)
        if n_read == 0:
            raise AudioError(self.cut or reasons.NO_SAMPLES)

    def _decoded(self, room: Room | None) -> Iterator[Samples]:
        """What the decoder gives; of a file that is cut and may be, all that it can give."""
        n_read = 0
        blocks = self._decoder.blocks(self.block_length, room)
        while True:
            try:
                with self._guard():
                    block = next(blocks, None)
            except (AudioError, *DECODING_ERRORS) as error:
                if self._source.has_changed():
                    raise AudioError(reasons.CHANGED) from error
                reason = str(error) if isinstance(error, AudioError) else describe(error)
                seconds = n_read / self.info.sample_rate
                may_end_here = self._allow_truncated and self.cut
                # that bytes could not be read says nothing of them
                is_of_file = not isinstance(error, NOT_OF_FILE)
                if not (is_of_file and (may_end_here or self._decoder.has_read_all())):
                    raise AudioError(f"{reason} (after {seconds:.3f} s)") from error
                try:
                    with self._guard():
                        rest = self._decoder.rest(n_read, self.block_length)
                except NOT_OF_FILE as other:
                    raise AudioError(f"{describe(other)} (after {seconds:.3f} s)") from other
                n_read += len(rest)
                self.cut = self.cut or reasons.cut_short(n_read / self.info.sample_rate, reason)
                if not self._allow_truncated:
                    raise AudioError(self.cut) from error
                if len(rest):
                    yield rest
                return
            if block is None:
                return
            n_read += len(block)
            yield block


def _check_finite(block: Samples, n_before: int, sample_rate: int) -> None:
    """Refuse NaN, infinity, and samples so large that their power would be infinite."""
    flat = block.reshape(-1)
    with np.errstate(all="ignore"):
        # one pass without a temporary array; NaN compares as false
        if np.dot(flat, flat) <= MAX_ENERGY:
            return
    is_bad = ~np.isfinite(block).all(axis=1)
    if is_bad.any():
        seconds = (n_before + int(is_bad.argmax())) / sample_rate
        raise AudioError(reasons.not_finite(seconds))
    peaks = np.abs(block).max(axis=1)
    if peaks.max() > MAX_PEAK:
        seconds = (n_before + int(peaks.argmax())) / sample_rate
        raise AudioError(reasons.too_loud(float(peaks.max()), seconds))
