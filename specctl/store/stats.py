"""Mean and variance per bin, gathered so that the result does not depend on the batching.

Values go in blocks that are counted from the first frame of an item, so an item's moments are the
same bits whether it came at once or in tiles. Items are then combined one after another.
"""

from typing import Any, Self

import numpy as np

from specctl.errors import StoreError

Vector = np.ndarray[Any, np.dtype[np.float64]]

_BLOCK_VALUES = 1 << 16


class Moments:
    """Number of frames, mean and sum of squared deviations (M2) of each of ``width`` values."""

    def __init__(self, count: int, mean: Vector, m2: Vector) -> None:
        self.count = count
        self.mean = mean
        self.m2 = m2

    @classmethod
    def empty(cls, width: int) -> Self:
        """Moments of nothing."""
        return cls(0, np.zeros(width), np.zeros(width))

    @property
    def std(self) -> Vector:
        """Standard deviation, divided by the number of frames; 0 where there are none."""
        return np.sqrt(np.maximum(self.m2, 0.0) / max(self.count, 1))

    def add(self, other: "Moments") -> None:
        """Join the frames of ``other`` to these (Chan, Golub and LeVeque 1979)."""
        total = self.count + other.count
        if total == 0:
            return
        delta = other.mean - self.mean
        self.mean = self.mean + delta * (other.count / total)
        self.m2 = self.m2 + other.m2 + delta * delta * (self.count * (other.count / total))
        self.count = total


class MomentsGatherer:
    """Moments of one item that arrives in pieces.

    Raises
    ------
    StoreError
        A value is NaN or infinite; at the latest from `finish`.
    """

    def __init__(self, width: int) -> None:
        # a reader of stores needs no compiler
        from specctl.store.compiled import moments

        self._compute = moments(width)
        self._block_frames = max(_BLOCK_VALUES // width, 1)
        self._pending = np.empty((self._block_frames, width), dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Start another item."""
        self._n_pending = 0
        self._moments = Moments.empty(self._pending.shape[1])

    def add(self, frames: np.ndarray) -> None:
        """Take more frames, shape (n, width) float32."""
        while len(frames):
            if self._n_pending == 0 and len(frames) >= self._block_frames:
                self._add_block(frames[: self._block_frames])
                frames = frames[self._block_frames :]
                continue
            taken = min(self._block_frames - self._n_pending, len(frames))
            self._pending[self._n_pending : self._n_pending + taken] = frames[:taken]
            self._n_pending += taken
            frames = frames[taken:]
            if self._n_pending == self._block_frames:
                self._add_block(self._pending)
                self._n_pending = 0

    def finish(self) -> Moments:
        """Moments of all frames since `reset`."""
        if self._n_pending:
            self._add_block(self._pending[: self._n_pending])
            self._n_pending = 0
        return self._moments

    def _add_block(self, block: np.ndarray) -> None:
        width = self._pending.shape[1]
        mean, m2 = np.empty(width), np.empty(width)
        self._compute(block, mean, m2)
        # sums in float64 cannot overflow on float32 values: not finite means an input was not
        if not np.isfinite(mean).all():
            raise StoreError("spectrogram has values that are not finite")
        self._moments.add(Moments(len(block), mean, m2))
