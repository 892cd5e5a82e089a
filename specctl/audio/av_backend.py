"""Decoding by FFmpeg through PyAV: what libsndfile does not know; imported when needed."""

import importlib
import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from specctl.audio import reasons
from specctl.audio.formats import extension
from specctl.audio.info import AudioInfo, Room, Samples, one_buffer
from specctl.audio.source import Piece, PieceFile, SourceFile
from specctl.errors import AudioError

READ_AHEAD = 2**16  # bytes
LENGTH_TOLERANCE = 0.25  # seconds; encoder delay and padding are counted by some, not by others

HEADERLESS = {"g722": "g722"}
"""FFmpeg's name of a format that only the file name tells."""

EXACT_LENGTH = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "wv", "ape", "tta"})
"""Containers whose declared length is of the audio, and not a guess from the bit rate."""

_SCALES = {"u1": (128.0, 2.0**7), "i2": (0.0, 2.0**15), "i4": (0.0, 2.0**31)}


def is_installed() -> bool:
    """Whether PyAV can be imported."""
    return importlib.util.find_spec("av") is not None


class AvDecoder:
    """The first audio stream of a file read by FFmpeg, at its own rate.

    Raises
    ------
    AudioError
        FFmpeg cannot read the file, or finds no audio in it.
    """

    def __init__(self, source: SourceFile) -> None:
        self._source = source
        self.may_be_non_finite = True
        with _reported_errors(), self._open() as container:
            if not container.streams.audio:
                raise AudioError("no audio stream")
            stream = container.streams.audio[0]
            codec = stream.codec_context
            if codec is None:
                raise AudioError("the decoder says: unknown codec")
            n_samples = None
            if stream.duration is not None and stream.time_base is not None:
                n_samples = int(stream.duration * stream.time_base * (codec.sample_rate or 0))
            self.info = AudioInfo(
                sample_rate=codec.sample_rate or 0,
                n_channels=codec.channels or 0,
                n_samples=n_samples,
                format=f"{container.format.name.split(',')[0]}/{codec.name}",
                backend="av",
            )
            is_exact = container.format.name in EXACT_LENGTH
        self.n_expected = None
        if is_exact and n_samples is not None:
            self.n_expected = max(0, n_samples - int(LENGTH_TOLERANCE * self.info.sample_rate))

    def blocks(self, block_length: int, room: Room | None = None) -> Iterator[Samples]:
        """As `Decoder.blocks`."""
        room = room or one_buffer(self.info.n_channels)
        buffer, filled = room(block_length), 0
        try:
            for frame in self._frames():
                samples = frame
                while len(samples):
                    part = samples[: block_length - filled]
                    buffer[filled : filled + len(part)] = part
                    filled += len(part)
                    samples = samples[len(part) :]
                    if filled == block_length:
                        yield buffer
                        buffer, filled = room(block_length), 0
        except AudioError:
            if filled:
                yield buffer[:filled]
            raise
        if filled:
            yield buffer[:filled]

    def has_read_all(self) -> bool:
        """Not to be told: FFmpeg reads far ahead."""
        return False

    def rest(self, n_before: int, most: int) -> Samples:
        """None: `blocks` gives all there is before it fails."""
        return np.empty((0, self.info.n_channels), dtype=np.float32)

    def _frames(self) -> Iterator[npt.NDArray[Any]]:
        """Samples of each frame, (samples, channels)."""
        with _reported_errors(), self._open() as container:
            stream = container.streams.audio[0]
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                yield self._to_float(frame)

    def _open(self) -> Any:
        av = importlib.import_module("av")
        file = io.BufferedReader(
            PieceFile(self._source, Piece(b"", 0, self._source.size)), READ_AHEAD
        )
        name = HEADERLESS.get(extension(self._source.path))
        # titles need not be UTF-8, which from PyAV 19 on is no error any more
        major = int(av.__version__.partition(".")[0])
        lenient = {"metadata_errors": "ignore"} if major < 19 else {}
        return av.open(file, mode="r", format=name, **lenient)

    def _to_float(self, frame: Any) -> npt.NDArray[Any]:
        """Samples of one frame, (samples, channels), in [-1, 1)."""
        n_channels = frame.layout.nb_channels
        if (frame.sample_rate, n_channels) != (self.info.sample_rate, self.info.n_channels):
            raise AudioError(reasons.CHANGING)
        samples = frame.to_ndarray()
        # planar formats come as (channels, samples), packed ones as (1, samples * channels)
        samples = samples.T if frame.format.is_planar else samples.reshape(-1, n_channels)
        if samples.dtype.kind == "f":
            return np.asarray(samples)
        zero, scale = _SCALES[samples.dtype.str[1:]]
        return np.asarray((samples.astype(np.float64) - zero) / scale)


@contextmanager
def _reported_errors() -> Iterator[None]:
    """Turn what FFmpeg says into an :class:`AudioError`."""
    av = importlib.import_module("av")
    try:
        yield
    except av.error.FFmpegError as error:
        # without the file name that PyAV puts around it
        raise AudioError(reasons.decoder_said(error.strerror or str(error))) from error
