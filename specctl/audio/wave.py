"""WAV files of the usual kind: what their headers say, and their samples without libsndfile.

libsndfile takes as long to open a file as to read half a minute of it, and collections of words
or of calls have a hundred thousand files of a second each.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from specctl.audio.containers import UNKNOWN_SIZES
from specctl.audio.info import AudioInfo, Room, Samples, one_buffer
from specctl.audio.scratch import scratch
from specctl.audio.source import SourceFile

FMT = struct.Struct("<4sI4s4sIHHIIHH")
CHUNK = struct.Struct("<4sI")
MAKER = struct.Struct("<8sI")
"""A list of one entry, the program that made the file: FFmpeg puts it before the samples."""
HEAD = 128  # bytes
ENCODINGS = {
    (1, 8): "pcm_u8",
    (1, 16): "pcm_16",
    (1, 24): "pcm_24",
    (1, 32): "pcm_32",
    (3, 32): "float",
    (3, 64): "double",
}
SAMPLE_BYTES = {"wav/pcm_16": 2, "wav/pcm_24": 3}
MAX_CHANNELS = 64  # of which a block fits `scratch`
FULL_SCALE_16_BIT = np.float32(2**-15)
FULL_SCALE_32_BIT = np.float32(2**-31)


class _Layout(NamedTuple):
    info: AudioInfo
    samples_at: int  # offset


def wave_info(source: SourceFile) -> AudioInfo | None:
    """What the header says; None where it is not of the usual kind, or the file no WAV file."""
    layout = _layout(source)
    return None if layout is None else layout.info


def _layout(source: SourceFile) -> _Layout | None:
    head = source.read_at(0, HEAD)
    if len(head) < FMT.size + CHUNK.size or not head.startswith(b"RIFF"):
        return None
    _, _, wave, name, size, tag, n_channels, rate, _, block_align, bits = FMT.unpack_from(head)
    encoding = ENCODINGS.get((tag, bits))
    if (wave, name, size) != (b"WAVE", b"fmt ", 16) or encoding is None:
        return None
    name, n_bytes = CHUNK.unpack_from(head, FMT.size)
    samples_at = FMT.size + CHUNK.size
    if name == b"LIST" and len(head) == HEAD:
        mark, size = MAKER.unpack_from(head, samples_at)
        at = samples_at + n_bytes
        is_maker = mark == b"INFOISFT" and MAKER.size + size + size % 2 == n_bytes
        if not is_maker or at + CHUNK.size > len(head):
            return None
        name, n_bytes = CHUNK.unpack_from(head, at)
        samples_at = at + CHUNK.size
    is_whole = samples_at + n_bytes <= source.size
    if name != b"data" or n_bytes in UNKNOWN_SIZES or not is_whole:
        return None
    if n_channels == 0 or block_align != n_channels * bits // 8:
        return None
    n_samples = n_bytes // block_align
    return _Layout(
        AudioInfo(rate, n_channels, n_samples, f"wav/{encoding}", "soundfile"), samples_at
    )


class WaveDecoder:
    """Samples of 16 or 24 bits, scaled by NumPy, to the same numbers as by libsndfile.

    Parameters
    ----------
    source : SourceFile
    info : AudioInfo
        As the header says, of a file that ends with its samples.
    samples_at : int
        Where they begin, in bytes.
    """

    may_be_non_finite = False

    def __init__(self, source: SourceFile, info: AudioInfo, samples_at: int) -> None:
        self._source, self._samples_at = source, samples_at
        self.info = info
        self.n_expected = info.n_samples
        self._sample_bytes = SAMPLE_BYTES[info.format]

    def blocks(self, block_length: int, room: Room | None = None) -> Iterator[Samples]:
        """As `Decoder.blocks`."""
        room = room or one_buffer(self.info.n_channels)
        n_bytes = self._sample_bytes * self.info.n_channels
        n_left, offset = self.info.n_samples or 0, self._samples_at
        while n_left:
            block = room(min(n_left, block_length))
            view = scratch()[: len(block) * n_bytes]
            n_read = self._read(view, offset) // n_bytes
            self._scale(view[: n_read * n_bytes], block[:n_read])
            if n_read:
                yield block[:n_read]
            n_left -= n_read
            offset += n_read * n_bytes
            if n_read < len(block):
                return

    def has_read_all(self) -> bool:
        """No: samples that can be read do not fail."""
        return False

    def rest(self, _n_before: int, _most: int) -> Samples:
        """Nothing: what can be read has been."""
        return np.empty((0, self.info.n_channels), np.float32)

    def _read(self, view: memoryview, offset: int) -> int:
        n_read = 0
        while n_read < len(view) and (n := self._source.read_into(view[n_read:], offset + n_read)):
            n_read += n
        return n_read

    def _scale(self, data: memoryview, block: Samples) -> None:
        flat = block.reshape(-1)
        if self._sample_bytes == 2:
            np.multiply(np.frombuffer(data, "<i2"), FULL_SCALE_16_BIT, out=flat)
            return
        # as the upper bytes of 32 bits
        codes = flat.view("<i4")
        places = codes.view(np.uint8).reshape(-1, 4)
        places[:, 0] = 0
        for place, sample_byte in enumerate(np.frombuffer(data, np.uint8).reshape(-1, 3).T):
            places[:, 1 + place] = sample_byte
        np.multiply(codes, FULL_SCALE_32_BIT, out=flat, casting="same_kind")


def open_wave(source: SourceFile) -> WaveDecoder | None:
    """Open a file of the usual kind; None for others, which are for libsndfile.

    Those with something behind their samples are among the others: libsndfile has a say on that.
    """
    layout = _layout(source)
    if layout is None:
        return None
    info, samples_at = layout
    if info.format not in SAMPLE_BYTES or info.n_channels > MAX_CHANNELS:
        return None
    n_bytes = (info.n_samples or 0) * info.n_channels * SAMPLE_BYTES[info.format]
    is_end = source.size - samples_at - n_bytes in (0, n_bytes % 2)
    return WaveDecoder(source, info, samples_at) if is_end else None
