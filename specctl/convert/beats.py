"""Signs of life: a small shared file in which each part's worker says how far it is.

No locks and no queue: a worker that is killed while writing cannot block anybody, and the
numbers outlive it, so that the file it died on can be named.
"""

from pathlib import Path

import numpy as np

_FIELDS = ("count", "source", "n_done", "n_failed", "milliseconds")


class Beats:
    """A row of numbers for each part; the worker of a part writes its row, the parent reads all.

    Parameters
    ----------
    path : Path
    n_parts : int
    create : bool
        Make the file anew instead of opening it.
    """

    def __init__(self, path: Path, n_parts: int, *, create: bool) -> None:
        shape = (max(1, n_parts), len(_FIELDS))
        self._rows = np.memmap(path, dtype=np.int64, mode="w+" if create else "r+", shape=shape)

    def row(self, part: int) -> "Beat":
        """The row of one part."""
        return Beat(self._rows[part])

    def active(self) -> list[int]:
        """Parts with a source in hand."""
        return np.flatnonzero(self._rows[:, 1]).tolist()

    def totals(self) -> dict[str, int]:
        """Sums over all parts: files done, files failed, milliseconds of audio."""
        sums = self._rows.sum(axis=0).tolist()
        return dict(zip(_FIELDS, sums, strict=True))


class Beat:
    """One part's row."""

    def __init__(self, row: np.ndarray) -> None:
        self._row = row

    @property
    def count(self) -> int:
        """Grows with every step of the work."""
        return int(self._row[0])

    @property
    def source(self) -> int:
        """Number of the source in hand within its part, -1 between sources."""
        return int(self._row[1]) - 1

    def start(self) -> None:
        """A worker begins the part, perhaps not the first to do so."""
        self._row[1:] = 0
        self._row[0] += 1

    def step(self) -> None:
        """Something was done."""
        self._row[0] += 1

    def take(self, source: int) -> None:
        """Begin a source."""
        self._row[1] = source + 1
        self._row[0] += 1

    def done(self, *, failed: bool, seconds: float) -> None:
        """End a source with so many seconds of audio."""
        self._row[1] = 0
        self._row[2] += 1
        self._row[3] += failed
        self._row[4] += round(seconds * 1000)
        self._row[0] += 1

    def finish(self, *, n_done: int, n_failed: int, seconds: float) -> None:
        """Fill the row of a part that was finished by an earlier run."""
        self._row[:] = (1, 0, n_done, n_failed, round(seconds * 1000))
