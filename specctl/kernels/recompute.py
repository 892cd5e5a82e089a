"""Training through a dense basis without keeping anything the size of a spectrogram.

Ordinary automatic differentiation keeps the real parts, the imaginary parts and every step after
them for every frame until the backward pass. Here only the waveform and the weights are kept;
the backward pass computes the frames again, block by block, and adds up what each block gives.
Only the products of a small batch are kept, which saves a quarter of the work.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from specctl.config import PadMode
from specctl.dsp.padding import pad_waveform
from specctl.kernels.bands import Bands
from specctl.kernels.base import Chain
from specctl.kernels.gradients import GradientSums, Steps
from specctl.kernels.overlap import Overlap
from specctl.kernels.precision import owned_precision
from specctl.kernels.sizes import whole_columns

Run = Callable[[Tensor, Chain, Overlap | None, Tensor | None], Tensor]
"""Padded waveforms (batch, samples) to spectrograms (batch, n_bins, n_frames), no gradients.

The tensor (2 * n_freqs, n_frames), if there is one, takes the products of the frames of one item
with the basis, as `GradientSums.add` wants them.
"""

_KEPT_BYTES = 2**24
"""Products of all frames with the basis are kept up to this size: a minute of audio or so."""


def recomputed(
    waveform: Tensor, padding: int, pad_mode: PadMode, chain: Chain, run: Run
) -> Tensor:
    """All of ``chain`` with a basis; differentiable once, in little memory.

    Parameters
    ----------
    waveform : Tensor, shape (batch, samples)
    padding : int
        Samples added at both ends, item by item.
    chain : Chain
        With a basis and an exponent.
    run : callable
        Computes the forward pass.

    Returns
    -------
    Tensor, shape (batch, n_bins, n_frames)
    """
    n_samples = waveform.shape[1] + 2 * padding
    n_frames = 1 + (n_samples - chain.n_fft) // chain.hop_length
    overlap = _overlap(waveform, chain, n_frames)
    plan = _Plan(chain.n_fft, chain.hop_length, n_frames, overlap, padding, pad_mode)
    steps = Steps(
        chain.power or 1.0,
        (chain.log.factor, chain.log.amin) if chain.log is not None else None,
        chain.precision,
    )

    def forward(item: Tensor, kept: Tensor | None) -> Tensor:
        return run(plan.padded(item), chain, overlap, kept)

    mel = chain.bands.mel if chain.bands is not None else None
    spec: Tensor = _Recomputed.apply(  # type: ignore[no-untyped-call]
        waveform, chain.basis, mel, plan, steps, chain.bands, forward
    )
    return spec


def _overlap(waveform: Tensor, chain: Chain, n_frames: int) -> Overlap | None:
    """How frames share pieces, which give a gradient in the basis but none in the waveform."""
    trains = chain.basis is not None and chain.basis.requires_grad
    if not trains or waveform.requires_grad:
        return None
    if chain.precision != "fp32" or waveform.device.type != "cpu":
        return None
    return Overlap.of(chain.n_fft, chain.hop_length, n_frames)


class _Plan(NamedTuple):
    """The numbers of a chain, without its weights, which autograd keeps."""

    n_fft: int
    hop_length: int
    n_frames: int
    overlap: Overlap | None
    padding: int
    pad_mode: PadMode

    def padded(self, item: Tensor) -> Tensor:
        """(1, samples), or longer by the padding at both ends."""
        if not self.padding:
            return item
        return pad_waveform(item, self.padding, self.padding, self.pad_mode)

    def unpadded(self, d_padded: Tensor, item: Tensor) -> Tensor:
        """The gradient of a padded waveform carried back to the samples it was made of."""
        if not self.padding:
            return d_padded
        with torch.enable_grad():
            source = item.detach().requires_grad_()
            padded = self.padded(source[None])[0]
        (d_item,) = torch.autograd.grad(padded, source, d_padded)
        return d_item

    def kept(self, waveform: Tensor, n_rows: int) -> Tensor | None:
        """Room for the products of all frames with so many rows, if they are few enough."""
        padded = self.overlap.padded if self.overlap is not None else whole_columns
        shape = (len(waveform), n_rows, padded(self.n_frames))
        if math.prod(shape) * waveform.element_size() > _KEPT_BYTES:
            return None
        kept = waveform.new_empty(shape)
        kept[:, :, self.n_frames :] = 0
        return kept


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        waveform: Tensor,
        basis: Tensor,
        mel: Tensor | None,
        plan: _Plan,
        steps: Steps,
        bands: Bands | None,
        forward: Callable[[Tensor, Tensor | None], Tensor],
    ) -> Tensor:
        kept = plan.kept(waveform, len(basis))
        n_bins = len(basis) // 2 if mel is None else len(mel)
        spec = waveform.new_empty((len(waveform), n_bins, plan.n_frames))
        # item by item: padded copies of one item are small, those of a batch are not
        for item in range(len(waveform)):
            spec[item] = forward(
                waveform[item : item + 1], kept[item] if kept is not None else None
            )[0]
        ctx.save_for_backward(waveform, basis, mel, kept)
        ctx.plan, ctx.steps, ctx.bands = plan, steps, bands
        return spec

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        waveform, basis, _, kept = ctx.saved_tensors
        wants_waveform, wants_basis, wants_mel = ctx.needs_input_grad[:3]
        plan: _Plan = ctx.plan
        sums = GradientSums(
            basis,
            ctx.bands,
            ctx.steps,
            wants_basis=wants_basis,
            wants_mel=wants_mel,
            overlap=plan.overlap,
        )
        d_waveform = torch.zeros_like(waveform) if wants_waveform else None
        with owned_precision(waveform.device, ctx.steps.precision):
            for number, item in enumerate(waveform):
                padded = plan.padded(item[None])[0]
                products = kept[number] if kept is not None else None
                d_padded = torch.zeros_like(padded) if d_waveform is not None else None
                sums.add(padded, plan.hop_length, gradient[number], products, d_padded)
                if d_waveform is not None and d_padded is not None:
                    d_waveform[number] = plan.unpadded(d_padded, item)
        return d_waveform, sums.d_basis, sums.d_mel, None, None, None, None
