"""What a kernel is asked for, and what a kernel is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from specctl.config import PadMode, Precision, SpectrogramConfig
from specctl.dsp.decibel import LogScale
from specctl.dsp.padding import pad_waveform
from specctl.kernels.bands import Bands


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
    def weights(self) -> tuple[Tensor, ...]:
        """All of its tensors."""
        weights = (self.window, self.basis, self.bands.mel if self.bands is not None else None)
        return tuple(weight for weight in weights if weight is not None)

    @property
    def requires_grad(self) -> bool:
        """Whether any of its weights is being trained."""
        return any(weight.requires_grad for weight in self.weights)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a kernel is chosen for."""

    config: SpectrogramConfig
    device: torch.device
    precision: Precision
    trained: frozenset[str] = frozenset()  # names of the weights that are trained

    @property
    def has_trained_basis(self) -> bool:
        """Whether the basis is another than the Fourier basis."""
        return "basis" in self.trained


class Kernel(ABC):
    """An implementation of the transform that can be chosen by name and timed."""

    name: ClassVar[str]
    takes_trained_basis: ClassVar[bool]

    @abstractmethod
    def problem(self, demand: Demand) -> str | None:
        """Why this kernel cannot do what is wanted, or ``None`` if it can.

        A trained basis is not asked about here; `takes_trained_basis` answers that.
        """

    def run_centred(
        self, waveform: Tensor, padding: int, pad_mode: PadMode, chain: Chain
    ) -> Tensor:
        """`run` after padding (batch, samples) at both ends; a kernel may pad item by item."""
        return self.run(pad_waveform(waveform, padding, padding, pad_mode), chain)

    @abstractmethod
    def run(self, padded: Tensor, chain: Chain) -> Tensor:
        """All of ``chain`` over padded waveforms; differentiable.

        Parameters
        ----------
        padded : Tensor, shape (batch, samples)
            At least ``n_fft`` samples; padding for centred frames is already there.

        Returns
        -------
        Tensor, shape (batch, n_bins, n_frames)
            Complex where ``chain.power`` is ``None``.

        Notes
        -----
        A frame's numbers depend on its item alone. On a CPU not even their last bit depends on
        how a long item was cut, as long as it was cut at multiples of
        `specctl.kernels.blocks.block_frames`.
        """
