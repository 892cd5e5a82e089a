"""Kernel ``conv``: the transform as a strided convolution with the rows of a basis.

Every frame is multiplied with the whole basis, so the basis may be any: trained, warped,
loaded from a file. The convolution is computed as a matrix product over frames that are views
of the waveform, block by block; nothing the size of all frames together is ever stored.
"""

from typing import Any

import torch
from torch import Tensor

from specctl.config import PadMode
from specctl.dsp.padding import pad_waveform
from specctl.errors import KernelError
from specctl.kernels import gpu
from specctl.kernels.base import Chain, Demand
from specctl.kernels.blocks import FrameKernel, block_frames, by_item, finished, run_block, scaled
from specctl.kernels.buffers import Buffers
from specctl.kernels.joined import are_joined
from specctl.kernels.overlap import Overlap, fill_products
from specctl.kernels.precision import product, product_into
from specctl.kernels.recompute import recomputed
from specctl.kernels.sizes import whole_columns


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
        """`run` after padding; while training, block by block."""
        if gpu.can_take(waveform):
            # without padding it is not copied: memory must not grow with a long file
            padded = pad_waveform(waveform, padding, padding, pad_mode) if padding else waveform
            return gpu.run_dense(padded, chain)
        wants_gradient = torch.is_grad_enabled() and (
            waveform.requires_grad or chain.requires_grad
        )
        if chain.power is not None and wants_gradient and len(waveform):
            return recomputed(waveform, padding, pad_mode, chain, _run_block)
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
        """Computed by rows of the basis, which is faster; a view the other way round."""
        n_frames = frames.shape[0] * frames.shape[1]
        n_columns = whole_columns(n_frames)
        kind: Any = {"dtype": frames.dtype, "device": frames.device}
        copies = buffers.take("frames", (n_columns, chain.n_fft), **kind)
        copies[:n_frames].view(frames.shape).copy_(frames)
        copies[n_frames:] = 0
        parts = buffers.take("parts", (2 * chain.n_freqs, n_columns), **kind)
        product_into(parts, _basis(chain), copies, chain.precision)
        power = buffers.take("power", (chain.n_freqs, n_columns), **kind)
        torch.square(parts[: chain.n_freqs], out=power)
        power.addcmul_(parts[chain.n_freqs :], parts[chain.n_freqs :])
        return power.T

    def joins_items(self, like: Tensor, chain: Chain) -> bool:
        """Where no product tells what stands beside a column."""
        if chain.power is None:
            return False

        def run(frames: Tensor) -> Tensor:
            spec = frames.new_empty((len(frames), chain.n_bins, 1))
            run_block(self, frames[:, None], chain, spec)
            return spec

        shape = (block_frames(chain.n_fft, like.device), chain.n_fft)
        return are_joined(run, shape, like, chain, trains=False)

    def _parts(self, frames: Tensor, chain: Chain) -> Tensor:
        return product(frames, _basis(chain), chain.precision)


def _run_block(
    samples: Tensor, n_frames: int, chain: Chain, overlap: Overlap | None, kept: Tensor | None
) -> Tensor:
    """The forward pass of training, of one block; ``kept`` takes the products."""
    n_items = len(samples)
    n_computed = 1 + (samples.shape[1] - chain.n_fft) // chain.hop_length
    shape = (2 * chain.n_freqs, n_items * n_computed)
    products = kept if kept is not None else samples.new_empty(shape)
    if overlap is not None:
        overlap = overlap.exact
        fill_products(overlap, _basis(chain), overlap.differences(samples, n_computed), products)
    else:
        frames = samples.unfold(1, chain.n_fft, chain.hop_length).reshape(-1, chain.n_fft)
        product_into(products, _basis(chain), frames, chain.precision)
    values = _finished_products(products, chain)
    values = values if overlap is None else overlap.natural(values)
    return by_item(values, n_items)[..., :n_frames]


def _finished_products(products: Tensor, chain: Chain) -> Tensor:
    """From products (2 * n_freqs, n) to (n_bins, n)."""
    power = chain.power or 1.0
    if chain.bands is not None and (
        bands := chain.bands.compiled(products, power, chain.precision)
    ):
        values = products.new_empty((chain.n_bins, products.shape[1]))
        bands.values(products.numpy(), values.numpy())
        return scaled(values, chain)
    squares = products[: chain.n_freqs].square()
    squares.addcmul_(products[chain.n_freqs :], products[chain.n_freqs :])
    return finished(squares.T, chain)


def _basis(chain: Chain) -> Tensor:
    if chain.basis is None:
        raise KernelError("kernel 'conv' needs a basis, got none")
    return chain.basis
