"""Decoding by libsndfile: WAV and its kin, FLAC, Ogg Vorbis, Opus, MP3, AIFF, AU, CAF, GSM."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile

from specctl.audio import reasons
from specctl.audio.info import AudioInfo, Room, Samples, one_buffer
from specctl.audio.scratch import SCRATCH_BYTES, scratch
from specctl.audio.source import Piece, PieceFile, SourceFile, Structure
from specctl.errors import AudioError

UNKNOWN_FORMAT = frozenset({1, 7})
"""libsndfile's numbers for "format not recognised" and, from libmpg123, for "no such file"."""
FULL_SCALE_16_BIT = np.float32(2**-15)
UNKNOWN_LENGTH = 2**62  # libsndfile says 2**63 - 1 where FLAC says nothing
READ_AHEAD = 2**16  # bytes; libsndfile asks for a few bytes at a time
PASSED_AT_ONCE = 2**16  # samples of all channels together
REST_STEPS = (2**12, 2**6, 1)  # samples
GSM_ARGUMENTS = {"format": "RAW", "subtype": "GSM610", "samplerate": 8000, "channels": 1}
INTEGER_ENCODINGS = ("PCM_", "ULAW", "ALAW", "GSM610", "IMA_ADPCM", "MS_ADPCM", "ALAC_", "DPCM_")


class _ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Read from start to end only.

    soundfile seeks to where it already is after each read, which fails in FLAC at the end
    of a stream of undeclared length.
    """

    def seekable(self) -> bool:
        return False


class SoundfileDecoder:
    """A file read by libsndfile, as it is or piece by piece.

    Raises
    ------
    soundfile.LibsndfileError
        libsndfile refuses the file; its ``code`` is in `UNKNOWN_FORMAT` where another
        decoder may do better.
    """

    def __init__(self, source: SourceFile, structure: Structure) -> None:
        self._source = source
        self._structure = structure
        self._unread: soundfile.SoundFile | None = None
        self.info, subtype = self._read_info()
        self.n_expected = self.info.n_samples
        # those of FLAC are scaled while they are decoded
        self._is_16_bit = subtype == "PCM_16" and not self.info.format.startswith("flac/")
        self.may_be_non_finite = not subtype.startswith(INTEGER_ENCODINGS)

    def blocks(self, block_length: int, room: Room | None = None) -> Iterator[Samples]:
        """As `Decoder.blocks`."""
        room = room or one_buffer(self.info.n_channels)
        n_found = filled = 0
        buffer = room(self._next_length(block_length, n_found))
        for piece in self._structure.pieces or (None,):
            with self._open(piece) as file:
                _pass_over(file, _skipped(piece))
                # libsndfile has nothing more than it has declared
                while n_found != self.n_expected and (
                    n_read := _read(file, buffer[filled:], self._is_16_bit)
                ):
                    filled += n_read
                    n_found += n_read
                    if filled == len(buffer):
                        yield buffer
                        buffer, filled = room(self._next_length(block_length, n_found)), 0
        if filled:
            yield buffer[:filled]

    def _next_length(self, block_length: int, n_found: int) -> int:
        if self.n_expected is None:
            return block_length
        return max(1, min(block_length, self.n_expected - n_found))

    def has_read_all(self) -> bool:
        """Whether the file has been read to its end, which decoders do a few kilobytes ahead."""
        return os.lseek(self._source.fd, 0, os.SEEK_CUR) >= self._source.size

    def rest(self, n_before: int, most: int) -> Samples:
        """Up to ``most`` samples after the first ``n_before``, up to where decoding fails.

        libsndfile keeps from us what it decoded in a call that fails, so it is asked for less
        and less at a time.
        """
        found: Samples = np.empty((most, self.info.n_channels), dtype=np.float32)
        n_found = 0
        for step in () if self._structure.pieces else REST_STEPS:
            with self._open(None) as file, contextlib.suppress(soundfile.SoundFileError):
                _pass_over(file, n_before + n_found)
                while n_found < most and (n := _read(file, found[n_found : n_found + step])):
                    n_found += n
        return found[:n_found]

    def _open(self, piece: Piece | None) -> soundfile.SoundFile:
        if self._unread is not None:
            file, self._unread = self._unread, None
            return file
        arguments: dict[str, Any] = GSM_ARGUMENTS if self._structure.is_gsm else {}
        if piece is None:
            # libsndfile takes what comes before the position for somebody else's data
            os.lseek(self._source.fd, 0, os.SEEK_SET)
            return _ForwardSoundFile(self._source.fd, closefd=False, **arguments)
        file = io.BufferedReader(PieceFile(self._source, piece), READ_AHEAD)
        return _ForwardSoundFile(file, "r", **arguments)

    def _read_info(self) -> tuple[AudioInfo, str]:
        files = []
        n_samples: int | None = 0
        for piece in self._structure.pieces or (None,):
            file = self._open(piece)
            files.append(file)
            is_known = file.frames < UNKNOWN_LENGTH and not self._structure.is_estimate
            if n_samples is not None:
                n_samples = n_samples + file.frames - _skipped(piece) if is_known else None
            if piece is not None:
                file.close()
        if not self._structure.pieces:
            # opening costs as much as reading a second of sound: the first pass uses it
            self._unread = files[0]
        rate, n_channels = files[0].samplerate, max(file.channels for file in files)
        if any(file.samplerate != rate for file in files):
            raise AudioError(reasons.CHANGING)
        if any(file.channels not in (1, n_channels) for file in files):
            raise AudioError(reasons.CHANGING)
        format_name = f"{files[0].format}/{files[0].subtype}".lower()
        info = AudioInfo(rate, n_channels, n_samples, format_name, "soundfile")
        return info, files[0].subtype


def _read(file: soundfile.SoundFile, out: Samples, is_16_bit: bool = False) -> int:
    """Read up to ``len(out)`` samples; a mono stream goes to all channels of ``out``.

    Samples of 16 bits are scaled by NumPy, to the same numbers as by libsndfile, which takes
    three times as long.
    """
    if file.channels != out.shape[1]:
        mono = file.read(out=np.empty((len(out), 1), dtype=np.float32))
        out[: len(mono)] = mono
        return len(mono)
    if not is_16_bit or 2 * out.size > SCRATCH_BYTES:
        return len(file.read(out=out))
    codes = np.frombuffer(scratch(), np.int16, out.size).reshape(out.shape)
    read = file.read(out=codes)
    np.multiply(read, FULL_SCALE_16_BIT, out=out[: len(read)])
    return len(read)


def _skipped(piece: Piece | None) -> int:
    return piece.skip if piece is not None else 0


def _pass_over(file: soundfile.SoundFile, n_samples: int) -> None:
    """Read samples and let them go."""
    length = max(1, PASSED_AT_ONCE // file.channels)
    scratch: Samples = np.empty((min(length, n_samples), file.channels), dtype=np.float32)
    while n_samples and (n_read := _read(file, scratch[:n_samples])):
        n_samples -= n_read


def describe(error: soundfile.LibsndfileError) -> str:
    """Reason for what libsndfile says, without its prefixes."""
    text = str(error.error_string).strip()
    for prefix in ("Error : ", "Error: "):
        text = text.removeprefix(prefix)
    return reasons.decoder_said(text)
