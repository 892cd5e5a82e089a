"""Signs of life: a little shared memory in which each part's worker says how far it is.

No locks and no queue: a worker that is killed while writing cannot block anybody, and the
numbers outlive it, so that the file it died on can be named. The memory is the parent's own where
the system has such; a page of a mapped file ends the process that writes to it when its disk
fails.
"""

import contextlib
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from specctl.convert.patience import RunningTime
from specctl.durable import reported_os_errors

_FIELDS = ("count", "source", "n_done", "n_failed", "milliseconds")


class Beats:
    """A row of numbers for each part; the worker of a part writes its row, the parent reads all.

    Parameters
    ----------
    path : Path
    n_parts : int
    create : bool
        Make them anew instead of opening what another process has; they are a file at ``path``
        only where the system has no memory that others can open by name.

    Attributes
    ----------
    path : Path
        Where other processes find them, as long as these are there.

    Raises
    ------
    StoreError
        If the disk cannot take them.
    """

    def __init__(self, path: Path, n_parts: int, *, create: bool = False) -> None:
        rows = np.zeros((max(1, n_parts), len(_FIELDS)), np.int64)
        with reported_os_errors(path):
            self.path = self._made(path, rows.tobytes()) if create else path
            self._rows = np.memmap(self.path, dtype=rows.dtype, mode="r+", shape=rows.shape)

    def _made(self, path: Path, empty: bytes) -> Path:
        if hasattr(os, "memfd_create"):
            memory = os.memfd_create("specctl-beats", os.MFD_CLOEXEC)
            weakref.finalize(self, os.close, memory)
            os.ftruncate(memory, len(empty))
            named = Path(f"/proc/{os.getpid()}/fd/{memory}")
            # a sandbox with the /proc of outside shows a file of another process there
            with contextlib.suppress(OSError):
                if os.path.samestat(named.stat(), os.fstat(memory)):
                    return named
        # all of it: a hole that a full disk cannot fill would end the process as well
        path.write_bytes(empty)
        return path

    def row(self, part: int) -> "Beat":
        """The row of one part."""
        return Beat(self._rows[part])

    def active(self) -> list[int]:
        """Parts with a source in hand."""
        # numpy counts twice to find what is not zero and refuses what changes in between
        return np.flatnonzero(self._rows[:, 1].copy()).tolist()

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
        """Fill the row of a part that is there, whoever has made it."""
        self._row[:] = (1, 0, n_done, n_failed, round(seconds * 1000))


@dataclass(slots=True)
class Watch:
    """Notices parts whose worker no longer gives a sign of life.

    ``patience`` says how many seconds without a sign are too many, for a source of a part.
    """

    beats: Beats
    patience: Callable[[int, int], float]
    _seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    _time: RunningTime = field(default_factory=RunningTime)

    def hung(self) -> list[int]:
        """Parts that have stood at the same file without progress for too long."""
        now = self._time.look()
        seen, self._seen = self._seen, {}
        stuck = []
        for part in self.beats.active():
            beat = self.beats.row(part)
            count, place = beat.count, beat.source
            before, since = seen.get(part, (count, now))
            self._seen[part] = (count, since if before == count else now)
            if place >= 0 and now - self._seen[part][1] > self.patience(part, place):
                stuck.append(part)
                del self._seen[part]
        return stuck
