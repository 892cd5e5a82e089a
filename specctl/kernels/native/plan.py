"""How an FFT length is divided into butterflies, and the numbers that this takes."""

from dataclasses import dataclass

import numpy as np

from specctl.kernels.native.butterflies import LENGTHS

_SHORTEST = 32
_LONGEST = 2**16


def problem(n_fft: int) -> str | None:
    """Why there is no plan for an FFT length, or ``None`` if there is."""
    if n_fft % 2:
        return f"n_fft is odd: {n_fft}"
    if not _SHORTEST <= n_fft <= _LONGEST:
        return f"n_fft is outside [{_SHORTEST}, {_LONGEST}]: {n_fft}"
    if _divided(n_fft // 2, max(LENGTHS))[1] != 1:
        return f"n_fft has a prime factor above {max(LENGTHS)}: {n_fft}"
    return None


@dataclass(frozen=True, slots=True)
class Plan:
    """A real FFT of ``n_fft`` points as a complex one of half as many.

    Even samples are taken for real parts and odd ones for imaginary parts. The complex FFT
    works in place (decimation in frequency): after a butterfly over points that lie
    ``length / r`` apart, and a twiddle factor for each, r FFTs of that length are left, side by
    side. Bins end up in an order that `places` gives.
    """

    n_fft: int
    steps: tuple[int, ...]

    @classmethod
    def of(cls, n_fft: int, longest_butterfly: int) -> "Plan":
        """The plan for a length without a `problem`."""
        return cls(n_fft, tuple(_divided(n_fft // 2, longest_butterfly)[0]))

    @property
    def length(self) -> int:
        """Points of the complex FFT."""
        return self.n_fft // 2

    def lengths(self) -> list[int]:
        """Points of the FFTs that are left before each step."""
        lengths = [self.length]
        for step in self.steps[:-1]:
            lengths.append(lengths[-1] // step)
        return lengths

    def twiddles(self, step: int) -> np.ndarray:
        """Factors after a step: (length / r, r - 1), complex128, for each place and output."""
        length, r = self.lengths()[step], self.steps[step]
        turns = np.outer(np.arange(length // r), np.arange(1, r)) / length
        return np.asarray(np.exp(-2j * np.pi * turns))

    def places(self) -> np.ndarray:
        """Where each bin of the complex FFT lies after the last step, shape (length,)."""
        places = np.zeros(1, dtype=np.int64)
        stride = self.length
        for r in self.steps:
            stride //= r
            # a bin's first digit, the least significant, says which of r blocks it lies in
            places = np.add.outer(places, np.arange(r) * stride).reshape(-1)
        order = np.zeros(1, dtype=np.int64)
        weight = 1
        for r in self.steps:
            order = np.add.outer(order, np.arange(r) * weight).reshape(-1)
            weight *= r
        result = np.empty(self.length, dtype=np.int64)
        result[order] = places
        return result

    def rotations(self) -> np.ndarray:
        """What joins the FFTs of even and odd samples: ``-i exp(-2 pi i k / n_fft)``.

        Shape (length // 2 + 1,), complex128.
        """
        turns = np.arange(self.length // 2 + 1) / self.n_fft
        return np.asarray(-1j * np.exp(-2j * np.pi * turns))


def _divided(length: int, longest: int) -> tuple[list[int], int]:
    """Steps that divide a length, and what they leave of it."""
    steps = []
    for r in LENGTHS:
        while length % r == 0 and not (r % 2 == 0 and r > longest):
            steps.append(r)
            length //= r
    return steps, length
