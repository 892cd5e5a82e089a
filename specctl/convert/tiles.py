"""Cutting a waveform of any length into tiles, so that memory does not grow with it.

A tile is a stretch of the padded waveform that gives a whole number of frames. Tiles overlap
by what a frame needs and their length is a multiple of the kernels' block, so the frames of all
tiles together are, bit for bit, those of the waveform in one piece.
"""

import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from specctl.audio.info import Room
from specctl.config import SpectrogramConfig
from specctl.kernels.sizes import cpu_block_frames

_TILE_SAMPLES = 2**22
_SMALL_TILE_SAMPLES = 2**18
"""A megabyte, which stays in the cache of a processor; a GPU is kept busy by more."""

_TILE_VALUES = 2**23
_USUAL_SAMPLES = 2**20 + 2**17


def tile_frames(config: SpectrogramConfig, *, small: bool = False) -> int:
    """Frames of a tile: a multiple of a block, bounded in samples and in values."""
    block = cpu_block_frames(config.n_fft)
    n_samples = min(_TILE_SAMPLES, _SMALL_TILE_SAMPLES) if small else _TILE_SAMPLES
    wanted = min(n_samples // config.hop_length, _TILE_VALUES // max(config.n_freqs, 1))
    return max(1, wanted // block) * block


class TileMemory(threading.local):
    """Memory for one tile after another; the system takes long to give it anew for each.

    Each thread has its own, enough for a tile of most files; what is not used of it takes
    addresses only.
    """

    def __init__(self) -> None:
        self.samples = np.empty(_USUAL_SAMPLES, np.float32)


def tiles(
    blocks: Callable[[Room], Iterable[np.ndarray]],
    config: SpectrogramConfig,
    *,
    small: bool = False,
    memory: TileMemory | None = None,
) -> Iterator[tuple[np.ndarray, bool]]:
    """Padded stretches of one waveform, each with whether it is the last.

    Parameters
    ----------
    blocks : callable
        Gives the waveform from its start to its end as arrays of any length, shape (samples,),
        float32; is given room in the tile, where those that are put there need no copy.
    small : bool
        Tiles of a megabyte, where there is nothing to be gained by larger ones.
    memory : TileMemory, optional
        Where tiles are put; each lasts until the next one is asked for. Without it they last.

    Yields
    ------
    padded : ndarray, shape (samples,), float32
        Gives `tile_frames` frames; the last one as many as are left, a few more at most.
        Nothing is yielded for a waveform that is too short for one frame.
    is_last : bool
    """
    step = tile_frames(config, small=small) * config.hop_length
    length = step - config.hop_length + config.n_fft
    # enough must stay behind to reflect at the end and for one frame more
    enough = max(length, step + config.n_fft) + 2 * (config.padding + 1)
    kept = _Kept(config.padding, memory)
    is_first = True
    for block in blocks(lambda n_samples: kept.room(n_samples)[:, None]):
        kept.add(block)
        while kept.size >= enough:
            if is_first:
                kept.pad_start(config)
                is_first = False
            yield kept.samples[:length], False
            kept.drop(step)
    if is_first and kept.size == config.padding:
        return
    signal_start = config.padding if is_first else 0
    if is_first:
        kept.pad_start(config)
    kept.pad_end(config, signal_start)
    if kept.size >= config.n_fft:
        yield kept.samples, True


class _Kept:
    """Samples of a waveform behind room for its padding, in memory that grows.

    Samples that a decoder has put there itself are not copied; others are, since its blocks do
    not last.
    """

    def __init__(self, size: int, lent: TileMemory | None) -> None:
        self.size = 0
        self._lent = lent
        self._memory = np.empty(0, np.float32) if lent is None else lent.samples
        self._reserve(size)
        self.size = size

    @property
    def samples(self) -> np.ndarray:
        """All there is, padding included."""
        return self._memory[: self.size]

    def room(self, n_samples: int) -> np.ndarray:
        """Where the next samples belong."""
        self._reserve(self.size + n_samples)
        return self._memory[self.size : self.size + n_samples]

    def add(self, block: np.ndarray) -> None:
        """Append a block: a copy, unless it lies there already."""
        place = self.room(len(block))
        if block.ctypes.data != place.ctypes.data:
            place[:] = block
        self.size += len(block)

    def drop(self, n_samples: int) -> None:
        """Let go of the first samples; what is behind them moves, to other memory if they last."""
        rest, self.size = self._memory[n_samples : self.size], 0
        if self._lent is None:
            self._memory = np.empty(0, np.float32)
        self.room(len(rest))[:] = rest
        self.size = len(rest)

    def pad_start(self, config: SpectrogramConfig) -> None:
        """Fill the room at the start."""
        room = config.padding
        head = self._memory[room : self.size][: room + 1]
        self._memory[:room] = _continued(head, room, 0, config)

    def pad_end(self, config: SpectrogramConfig, signal_start: int) -> None:
        """Append the padding of the end; the signal begins at ``signal_start`` or before."""
        tail = self._memory[max(signal_start, self.size - config.padding - 1) : self.size]
        self.add(_continued(tail, 0, config.padding, config))

    def _reserve(self, size: int) -> None:
        if size > len(self._memory):
            # room for the padding of the end, so that most files need no second growth
            memory = np.empty(max(size + 2**16, len(self._memory) * 3 // 2), np.float32)
            memory[: self.size] = self._memory[: self.size]
            self._memory = memory
            if self._lent is not None:
                self._lent.samples = memory


def _continued(
    samples: np.ndarray, before: int, after: int, config: SpectrogramConfig
) -> np.ndarray:
    """What padding puts before or after ``samples``, without them."""
    if config.pad_mode == "constant":
        return np.zeros(before + after, np.float32)
    padded = np.pad(samples, (before, after), config.pad_mode)
    return padded[:before] if before else padded[len(samples) :]
