"""What a kernel is asked for, and what a kernel is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from specctl.config import Precision
from specctl.dsp.decibel import LogScale
from specctl.kernels.bands import Bands
from specctl.kernels.buffers import Buffers


@dataclass(frozen=True, slots=True)
class Chain:
    """A whole computation as data: spectrum, exponent, mel bands, logarithm.

    A kernel fuses as much of it as it can; what needs a whole item (its peak, cepstral
    coefficients) is left to the transform.
    """

    n_fft: int
    hop_length: int
    window: Tensor  # (n_fft,)
    basis: Tensor | None  # (2 * n_freqs, n_fft), real rows first; None: the Fourier basis
    power: float | None  # exponent of the magnitude; None: complex spectra
    bands: Bands | None
    log: LogScale | None
    precision: Precision

    @property
    def n_freqs(self) -> int:
        """Bins of the one-sided spectrum."""
        return self.n_fft // 2 + 1

    @property
    def n_bins(self) -> int:
        """Rows of what comes out."""
        return self.bands.n_mels if self.bands is not None else self.n_freqs

    @property
    def requires_grad(self) -> bool:
        """Whether any of its weights is being trained."""
        weights = (self.window, self.basis, self.bands.mel if self.bands is not None else None)
        return any(weight is not None and weight.requires_grad for weight in weights)


class Kernel(ABC):
    """An implementation of the transform that can be chosen by name and timed."""

    name: ClassVar[str]
    takes_trained_basis: ClassVar[bool]

    @abstractmethod
    def problem(self, device: torch.device, precision: Precision) -> str | None:
        """Why this kernel cannot run there, or ``None`` if it can."""

    @abstractmethod
    def spectrum(self, frames: Tensor, chain: Chain) -> Tensor:
        """Frames (..., n_fft) to complex spectra (..., n_freqs); differentiable."""

    @abstractmethod
    def power_spectrum(self, frames: Tensor, chain: Chain) -> Tensor:
        """Frames (..., n_fft) to squared magnitudes (..., n_freqs); differentiable."""

    @abstractmethod
    def power_block(self, frames: Tensor, chain: Chain, buffers: Buffers) -> Tensor:
        """`power_spectrum` of one block (n, n_fft) without gradients, in reused memory."""
