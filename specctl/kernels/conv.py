"""Kernel ``conv``: the transform as a strided convolution with the rows of a basis.

Every frame is multiplied with the whole basis, so the basis may be any: trained, warped,
loaded from a file. The convolution is computed as a matrix product over frames that are views
of the waveform, block by block; nothing the size of all frames together is ever stored.
"""

import torch
from torch import Tensor

from specctl.config import PadMode
from specctl.dsp.padding import pad_waveform
from specctl.errors import KernelError
from specctl.kernels import gpu
from specctl.kernels.base import Chain, Demand
from specctl.kernels.blocks import FrameKernel
from specctl.kernels.buffers import Buffers
from specctl.kernels.precision import product
from specctl.kernels.recompute import recomputed


class ConvKernel(FrameKernel):
    """Works with any basis, on any device, at any precision that the device has."""

    name = "conv"
    takes_trained_basis = True

    def problem(self, demand: Demand) -> str | None:
        """Only TF32 is tied to a kind of device."""
        if demand.precision == "tf32" and demand.device.type != "cuda":
            return f"precision 'tf32' runs on cuda, not on {demand.device.type}"
        return None

    def run(self, padded: Tensor, chain: Chain) -> Tensor:
        """Where gradients are taken, frames are computed a second time rather than kept."""
        return self.run_centred(padded, 0, "constant", chain)

    def run_centred(
        self, waveform: Tensor, padding: int, pad_mode: PadMode, chain: Chain
    ) -> Tensor:
        """`run` after padding; while training, one item at a time."""
        if gpu.can_take(waveform):
            padded = pad_waveform(waveform, padding, padding, pad_mode)
            return gpu.run_dense(padded, chain)
        wants_gradient = torch.is_grad_enabled() and (
            waveform.requires_grad or chain.requires_grad
        )
        if chain.power is not None and wants_gradient and len(waveform):
            return recomputed(waveform, padding, pad_mode, chain, _run_keeping)
        if padding:
            waveform = pad_waveform(waveform, padding, padding, pad_mode)
        return super().run(waveform, chain)

    def spectrum(self, frames: Tensor, chain: Chain) -> Tensor:
        """Products with the real and the imaginary rows, joined."""
        parts = self._parts(frames, chain)
        return torch.complex(parts[..., : chain.n_freqs], parts[..., chain.n_freqs :])

    def power_spectrum(self, frames: Tensor, chain: Chain) -> Tensor:
        """Squared magnitudes, without a square root on the way."""
        squares = self._parts(frames, chain).square()
        return squares[..., : chain.n_freqs] + squares[..., chain.n_freqs :]

    def power_block(self, frames: Tensor, chain: Chain, buffers: Buffers) -> Tensor:
        """Squares in place; both halves lie side by side already."""
        squares = self._parts(frames, chain).square_()
        return squares[:, : chain.n_freqs].add_(squares[:, chain.n_freqs :])

    def _parts(self, frames: Tensor, chain: Chain) -> Tensor:
        if chain.basis is None:
            raise KernelError("kernel 'conv' needs a basis, got none")
        return product(frames, chain.basis, chain.precision)


class _KeepingKernel(ConvKernel):
    """Computes the same, and keeps the products of the frames with the basis."""

    def __init__(self, kept: list[Tensor]) -> None:
        self._kept = kept

    def _parts(self, frames: Tensor, chain: Chain) -> Tensor:
        parts = super()._parts(frames, chain)
        self._kept.append(parts.clone())
        return parts


def _run_keeping(padded: Tensor, chain: Chain, kept: list[Tensor] | None) -> Tensor:
    """The forward pass of training; ``kept`` takes the products of each block."""
    kernel = ConvKernel() if kept is None else _KeepingKernel(kept)
    return FrameKernel.run(kernel, padded, chain)
