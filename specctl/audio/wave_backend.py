"""Samples of the usual WAV files, without libsndfile: they stand in them as they are.

libsndfile takes as long to open a file as to read half a minute of it, and collections of words
or of calls have a hundred thousand files of a second each.
"""

from collections.abc import Iterator

import numpy as np

from specctl.audio.info import AudioInfo, Room, Samples, one_buffer
from specctl.audio.scratch import scratch
from specctl.audio.source import SourceFile
from specctl.audio.wave import read_wave_header

SAMPLE_BYTES = {"wav/pcm_16": 2, "wav/pcm_24": 3, "wavex/pcm_16": 2, "wavex/pcm_24": 3}
MAX_CHANNELS = 64  # of which a block fits `scratch`
FULL_SCALE_16_BIT = np.float32(2**-15)
FULL_SCALE_32_BIT = np.float32(2**-31)


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
            memory = scratch()
            n_read = self._read(memory[: len(block) * n_bytes], offset) // n_bytes
            if n_read:
                self._scale(memory, block[:n_read])
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
        """Turn the samples at the start of ``data``, which is longer, into numbers."""
        flat = block.reshape(-1)
        if self._sample_bytes == 2:
            np.multiply(np.frombuffer(data, "<i2", flat.size), FULL_SCALE_16_BIT, out=flat)
            return
        # each with the byte behind it, which then makes way: a sample in the upper three of four
        codes = flat.view(np.int32)
        np.left_shift(np.ndarray(flat.size, "<i4", data, strides=3), 8, out=codes)
        flat[:] = codes
        flat *= FULL_SCALE_32_BIT


def open_wave(source: SourceFile) -> WaveDecoder | None:
    """Open a file of the usual kind; None for others, which are for libsndfile.

    Those with something behind their samples are among the others: libsndfile has a say on that.
    """
    header = read_wave_header(source)
    if header is None:
        return None
    info, samples_at = header
    if info.format not in SAMPLE_BYTES or info.n_channels > MAX_CHANNELS:
        return None
    n_bytes = (info.n_samples or 0) * info.n_channels * SAMPLE_BYTES[info.format]
    is_end = source.size - samples_at - n_bytes in (0, n_bytes % 2)
    return WaveDecoder(source, info, samples_at) if is_end else None
