"""What is to be computed, and the tables of numbers that the compiled function reads."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from specctl.kernels.native.plan import Plan

Layout = Literal["bins", "frames"]
"""Which axis comes first: ``(n_bins, n_frames)`` or ``(n_frames, n_bins)``."""


@dataclass(frozen=True, slots=True)
class Logarithm:
    """``factor * log10(max(value, amin)) - offset``."""

    factor: float
    amin: float
    offset: float

    @property
    def floor(self) -> float:
        """What values up to ``amin`` become."""
        return self.factor * math.log10(self.amin) - self.offset


@dataclass(frozen=True, slots=True)
class Program:
    """One chain, for one layout and number of lanes; equal programs compile to equal code."""

    plan: Plan
    lanes: int
    layout: Layout
    exponent: int | None  # of the magnitude, 1 or 2; None: complex spectra
    n_mels: int | None
    log: Logarithm | None

    @property
    def n_freqs(self) -> int:
        """Bins of the one-sided spectrum."""
        return self.plan.length + 1

    @property
    def n_rows(self) -> int:
        """Numbers of a frame of the result: bins, or their real and imaginary parts."""
        if self.exponent is None:
            return 2 * self.n_freqs
        return self.n_mels or self.n_freqs

    @property
    def spectrum_start(self) -> int:
        """Where in the scratch memory the spectrum begins, after the samples."""
        return self.plan.n_fft * self.lanes

    @property
    def rows_start(self) -> int:
        """Where in the scratch memory finished rows wait to be written."""
        n_spectrum = 2 * self.n_freqs if self.exponent is None else self.n_freqs
        return self.spectrum_start + n_spectrum * self.lanes

    @property
    def scratch_size(self) -> int:
        """Numbers of scratch memory: samples, spectrum, finished rows."""
        return self.rows_start + self.n_rows * self.lanes


@dataclass(slots=True)
class Tables:
    """Float32 and index tables, each in one piece, and where in it each part begins."""

    window: int = 0
    twiddles: list[int] = field(default_factory=list)
    rotations: int = 0
    pairs: int = 0
    weights: int = 0
    bands: int = 0
    floats: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    indices: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(cls, program: Program, window: np.ndarray, mel: np.ndarray | None) -> "Tables":
        """The tables of a program."""
        plan = program.plan
        tables = cls()
        # the halves of the split of a real FFT are taken here, where they cost nothing
        tables.window = tables._floats(window * 0.5)
        tables.twiddles = [
            tables._floats(_parts(plan.twiddles(step))) for step in range(len(plan.steps) - 1)
        ]
        tables.rotations = tables._floats(_parts(plan.rotations()))
        k = np.arange(plan.length // 2 + 1)
        pairs = plan.places()[np.stack([k, -k % plan.length], axis=-1)]
        tables.pairs = tables._indices(pairs * 2 * program.lanes)
        if mel is not None:
            tables._add_bands(mel)
        return tables

    @classmethod
    def places(cls, program: Program) -> "Tables":
        """Tables with other numbers in the same places, which follow from the program alone."""
        mel = None if program.n_mels is None else np.ones((program.n_mels, program.n_freqs))
        return cls.of(program, np.ones(program.plan.n_fft), mel)

    def _add_bands(self, mel: np.ndarray) -> None:
        """Weights without the zeros around them; for each band its bins and its weights."""
        rows, weights, start = [], [], 0
        for row in mel:
            used = np.flatnonzero(row)
            first, end = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
            rows.append((first, end, start - first))
            weights.append(row[first:end])
            start += end - first
        self.bands = self._indices(np.array(rows))
        self.weights = self._floats(np.concatenate(weights))

    def _floats(self, values: np.ndarray) -> int:
        start = self.floats.size
        self.floats = np.append(self.floats, values.astype(np.float32).reshape(-1))
        return start

    def _indices(self, values: np.ndarray) -> int:
        start = self.indices.size
        self.indices = np.append(self.indices, values.astype(np.int64).reshape(-1))
        return start


def _parts(values: np.ndarray) -> np.ndarray:
    return np.stack([values.real, values.imag], axis=-1)
