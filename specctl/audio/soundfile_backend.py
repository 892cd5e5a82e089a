"""Decoding by libsndfile: WAV and its kin, FLAC, Ogg Vorbis, Opus, MP3, AIFF, AU, CAF, GSM."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile

from specctl.audio import reasons
from specctl.audio.info import AudioInfo, Room, Samples, one_buffer
from specctl.audio.scratch import SCRATCH_BYTES, scratch
from specctl.audio.sound_file import ForwardSoundFile
from specctl.audio.source import Piece, SourceFile, Structure
from specctl.audio.wave_backend import FULL_SCALE_16_BIT
from specctl.errors import AudioError

UNKNOWN_FORMAT = frozenset({1, 7})
"""libsndfile's numbers for "format not recognised" and, from libmpg123, for "no such file"."""
UNKNOWN_ENCODING = 4
"""libsndfile's number for a container that it knows, with samples that it does not."""
UNKNOWN_LENGTH = 2**62  # libsndfile says 2**63 - 1 where FLAC says nothing
PASSED_AT_ONCE = 2**16  # samples of all channels together
REST_STEPS = (2**12, 2**6, 1)  # samples
GSM_ARGUMENTS = {"format": "RAW", "subtype": "GSM610", "samplerate": 8000, "channels": 1}
INTEGER_ENCODINGS = ("PCM_", "ULAW", "ALAW", "GSM610", "IMA_ADPCM", "MS_ADPCM", "ALAC_", "DPCM_")


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
        self._pieces = structure.pieces or (Piece(b"", 0, source.size),)
        self._unread: ForwardSoundFile | None = None
        self._last: ForwardSoundFile | None = None
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
        for piece in self._pieces:
            with self._open(piece) as file:
                self._last = file if piece is self._pieces[-1] else None
                _pass_over(file, piece.skip)
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
        return self._last is not None and self._last.is_at_end

    def rest(self, n_before: int, most: int) -> Samples:
        """Up to ``most`` samples after the first ``n_before``, up to where decoding fails.

        libsndfile keeps from us what it decoded in a call that fails, so it is asked for less
        and less at a time.
        """
        found: Samples = np.empty((most, self.info.n_channels), dtype=np.float32)
        n_found = 0
        for step in REST_STEPS if len(self._pieces) == 1 else ():
            with (
                contextlib.suppress(soundfile.SoundFileError),
                self._open(self._pieces[0]) as file,
            ):
                _pass_over(file, self._pieces[0].skip + n_before + n_found)
                while n_found < most and (n := _read(file, found[n_found : n_found + step])):
                    n_found += n
        return found[:n_found]

    def _open(self, piece: Piece) -> ForwardSoundFile:
        if self._unread is not None:
            file, self._unread = self._unread, None
            return file
        arguments: dict[str, Any] = GSM_ARGUMENTS if self._structure.is_gsm else {}
        return ForwardSoundFile(self._source, piece, **arguments)

    def _read_info(self) -> tuple[AudioInfo, str]:
        files = []
        n_samples: int | None = 0
        for piece in self._pieces:
            file = self._open(piece)
            files.append(file)
            is_known = (
                file.frames < UNKNOWN_LENGTH
                and not self._structure.is_estimate
                # a WAV file counts what the decoder of MP3 leaves out
                and not (file.subtype == "MPEG_LAYER_III" and file.format.startswith("WAV"))
            )
            if n_samples is not None:
                n_samples = n_samples + file.frames - piece.skip if is_known else None
            if len(self._pieces) > 1:
                file.close()
        if len(self._pieces) == 1:
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
