"""Long inputs in pieces, so that memory does not grow with them."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from specctl.kernels.base import Chain

MAX_FRAMES = 2**18
"""Most frames of a piece: a grid has 65535 rows of programs, the smallest tile 8 frames."""


class Piece(NamedTuple):
    """Some frames of some items: whole items, or a stretch of a single one."""

    items: slice
    times: slice
    n_times: int
    n_frames: int

    def samples(self, padded: Tensor, chain: Chain) -> Tensor:
        """What the frames are made of, (items, samples), a view of (batch, samples)."""
        start = self.times.start * chain.hop_length
        length = (self.n_times - 1) * chain.hop_length + chain.n_fft
        return padded[self.items, start : start + length]


def frames_in(padded: Tensor, chain: Chain) -> int:
    """Frames of each item of padded waveforms (batch, samples)."""
    return 1 + (padded.shape[-1] - chain.n_fft) // chain.hop_length


def pieces(n_items: int, n_times: int, capacity: int) -> Iterator[Piece]:
    """All frames of all items in order, at most ``capacity`` at once.

    How an item is cut depends on its own length only.
    """
    if n_times <= capacity:
        step = capacity // n_times
        for first in range(0, n_items, step):
            last = min(first + step, n_items)
            yield Piece(slice(first, last), slice(0, n_times), n_times, (last - first) * n_times)
        return
    for item in range(n_items):
        for start in range(0, n_times, capacity):
            stop = min(start + capacity, n_times)
            yield Piece(slice(item, item + 1), slice(start, stop), stop - start, stop - start)
