"""The samples of a segment in the making: few in memory, many in a file that has no name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from specctl.durable import reported_os_errors
from specctl.store.spill import UnnamedFile

_MEMORY_SAMPLES = 2**24
"""64 MiB, where a worker has a gigabyte for all it does."""

_PIECE_SAMPLES = 2**18
_SAMPLE_BYTES = 4


class Held:
    """The last samples of a signal, float32: new ones come behind them, the first ones leave.

    Parameters
    ----------
    most : int
        Samples that there is room for.
    beside : Path
        A file in whose folder those lie that are too many for memory.

    Raises
    ------
    StoreError
        The disk cannot take the samples or give them back.
    """

    def __init__(self, most: int, beside: Path) -> None:
        self.size = 0
        self._most = most
        self._first = 0
        # a ring, so that nothing moves when samples leave
        self._ring = _Memory(most) if most <= _MEMORY_SAMPLES else _File(beside)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ring.close()

    @property
    def room(self) -> int:
        """Samples that can be added."""
        return self._most - self.size

    def add(self, samples: np.ndarray) -> None:
        """Put a copy of samples, shape (n,), `room` at most, behind those that are there."""
        start = (self._first + self.size) % self._most
        n_before_end = self._most - start
        self._ring.write(start, samples[:n_before_end])
        if len(samples) > n_before_end:
            self._ring.write(0, samples[n_before_end:])
        self.size += len(samples)

    def drop(self, n_samples: int) -> None:
        """Let go of the first samples."""
        self._first = (self._first + n_samples) % self._most
        self.size -= n_samples

    def pieces(self) -> Iterator[np.ndarray]:
        """All samples from the first, a megabyte at most at a time."""
        n_given = 0
        while n_given < self.size:
            start = (self._first + n_given) % self._most
            n_samples = min(_PIECE_SAMPLES, self.size - n_given, self._most - start)
            yield self._ring.read(start, n_samples)
            n_given += n_samples


class _Memory:
    """Samples by their place."""

    def __init__(self, most: int) -> None:
        self._samples = np.empty(most, np.float32)

    def write(self, start: int, samples: np.ndarray) -> None:
        self._samples[start : start + len(samples)] = samples

    def read(self, start: int, n_samples: int) -> np.ndarray:
        return self._samples[start : start + n_samples]

    def close(self) -> None:
        pass


class _File:
    """Samples by their place, on the disk."""

    def __init__(self, beside: Path) -> None:
        self._beside = beside
        self._file = UnnamedFile(beside)

    def write(self, start: int, samples: np.ndarray) -> None:
        with reported_os_errors(self._beside):
            self._file.write(start * _SAMPLE_BYTES, samples.tobytes())

    def read(self, start: int, n_samples: int) -> np.ndarray:
        with reported_os_errors(self._beside, "read"):
            data = self._file.read(start * _SAMPLE_BYTES, n_samples * _SAMPLE_BYTES)
        return np.frombuffer(data, np.float32)

    def close(self) -> None:
        self._file.close()


def silence(n_samples: int) -> Iterator[np.ndarray]:
    """Zeros, a megabyte at most at a time."""
    zeros = np.zeros(min(n_samples, _PIECE_SAMPLES), np.float32)
    for start in range(0, n_samples, _PIECE_SAMPLES):
        yield zeros[: n_samples - start]
