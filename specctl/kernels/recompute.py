"""Training through a dense basis without keeping anything the size of a spectrogram.

Ordinary automatic differentiation keeps the real parts, the imaginary parts and every step after
them for every frame until the backward pass. Here only the waveform and the weights are kept;
the backward pass computes the frames again, block by block, and adds up what each block gives.
Only the products of a small batch are kept, which saves a third of the work.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from specctl.config import PadMode, Precision
from specctl.dsp.padding import pad_waveform
from specctl.kernels.base import Chain
from specctl.kernels.blocks import block_frames, raised
from specctl.kernels.precision import add_product, owned_precision, product

Run = Callable[[Tensor, Chain, list[Tensor] | None], Tensor]
"""Padded waveforms (batch, samples) to spectrograms (batch, n_bins, n_frames), no gradients.

The list, if there is one, takes the products of the frames with the basis, block by block.
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
    mel = chain.bands.mel if chain.bands is not None else None
    plan = _Plan(
        chain.n_fft,
        chain.hop_length,
        chain.power or 1.0,
        chain.precision,
        (chain.log.factor, chain.log.amin) if chain.log is not None else None,
        padding,
        pad_mode,
    )

    def forward(item: Tensor, kept: list[Tensor] | None) -> Tensor:
        return run(plan.padded(item), chain, kept)

    spec: Tensor = _Recomputed.apply(waveform, chain.basis, mel, plan, forward)  # type: ignore[no-untyped-call]
    return spec


class _Plan(NamedTuple):
    """The numbers of a chain, without its weights, which autograd keeps."""

    n_fft: int
    hop_length: int
    power: float
    precision: Precision
    log: tuple[float, float] | None  # factor, amin
    padding: int
    pad_mode: PadMode

    def padded(self, item: Tensor) -> Tensor:
        """(1, samples), or longer by the padding at both ends."""
        if not self.padding:
            return item
        return pad_waveform(item, self.padding, self.padding, self.pad_mode)

    def keeps(self, waveform: Tensor, n_rows: int) -> bool:
        """Whether products with so many rows are few enough to be kept."""
        n_samples = waveform.shape[1] + 2 * self.padding
        n_frames = len(waveform) * (1 + (n_samples - self.n_fft) // self.hop_length)
        return n_frames * n_rows * waveform.element_size() <= _KEPT_BYTES

    def blocks(self, n_frames: int, device: torch.device) -> Iterator[tuple[int, int]]:
        """First frame of each block and the first one after it."""
        step = block_frames(self.n_fft, device)
        for first in range(0, n_frames, step):
            yield first, min(first + step, n_frames)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        waveform: Tensor,
        basis: Tensor,
        mel: Tensor | None,
        plan: _Plan,
        forward: Callable[[Tensor, list[Tensor] | None], Tensor],
    ) -> Tensor:
        kept: list[Tensor] | None = [] if plan.keeps(waveform, len(basis)) else None
        # item by item: padded copies of one item are small, those of a batch are not
        first = forward(waveform[:1], kept)
        spec = first.new_empty((len(waveform), *first.shape[1:]))
        for item in range(len(waveform)):
            spec[item] = first[0] if item == 0 else forward(waveform[item : item + 1], kept)[0]
        ctx.save_for_backward(waveform, basis, mel, *(kept or ()))
        ctx.plan = plan
        return spec

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        waveform, basis, mel, *kept = ctx.saved_tensors
        wants_waveform, wants_basis, wants_mel = ctx.needs_input_grad[:3]
        sums = _Sums(
            basis,
            mel,
            torch.zeros_like(basis) if wants_basis else None,
            torch.zeros_like(mel) if wants_mel else None,
            ctx.plan,
            iter(kept),
        )
        d_waveform = torch.zeros_like(waveform) if wants_waveform else None
        with owned_precision(waveform.device, ctx.plan.precision):
            for item, gradient_of_item in enumerate(gradient):
                d_item = d_waveform[item] if d_waveform is not None else None
                sums.add_item(waveform[item], gradient_of_item, d_item)
        return d_waveform, sums.d_basis, sums.d_mel, None, None


class _Sums(NamedTuple):
    """Gradients that add up over all frames of all items."""

    basis: Tensor  # (2 * n_freqs, n_fft)
    mel: Tensor | None  # (n_mels, n_freqs)
    d_basis: Tensor | None
    d_mel: Tensor | None
    plan: _Plan
    kept: Iterator[Tensor]  # products of the blocks in their order; empty: computed again

    def add_item(self, item: Tensor, gradient: Tensor, d_item: Tensor | None) -> None:
        """One waveform (samples,), its gradient (n_bins, n_frames), and where to write its own."""
        plan = self.plan
        padded = plan.padded(item[None])[0]
        frames = padded.unfold(0, plan.n_fft, plan.hop_length)
        d_padded = torch.zeros_like(padded) if d_item is not None else None
        for first, last in plan.blocks(len(frames), item.device):
            block = frames[first:last].contiguous()
            d_parts = self._add_block(block, gradient[:, first:last].T)
            if d_padded is not None:
                d_frames = product(d_parts, self.basis.T, plan.precision)
                _overlap_add(d_padded[first * plan.hop_length :], d_frames, plan.hop_length)
        if d_item is not None and d_padded is not None:
            d_item.copy_(_unpadded(d_padded, item, plan))

    def _add_block(self, frames: Tensor, gradient: Tensor) -> Tensor:
        """Gradient (n, 2 * n_freqs) in the products of frames (n, n_fft) with the basis."""
        plan, n_freqs = self.plan, len(self.basis) // 2
        parts = next(self.kept, None)
        # a copy, since whoever retains the graph may ask for gradients twice
        parts = product(frames, self.basis, plan.precision) if parts is None else parts.clone()
        power = parts[:, :n_freqs].square().add_(parts[:, n_freqs:].square())
        values = raised(power, plan.power / 2)
        if self.mel is None:
            gradient = _through_log(gradient, values, plan.log)
        else:
            bands = product(values, self.mel, plan.precision)
            gradient = _through_log(gradient, bands, plan.log)
            if self.d_mel is not None:
                add_product(self.d_mel, gradient.T, values, plan.precision)
            gradient = product(gradient, self.mel.T, plan.precision)
        gradient = _through_power(gradient, power, plan.power / 2).mul_(2)
        parts[:, :n_freqs] *= gradient
        parts[:, n_freqs:] *= gradient
        if self.d_basis is not None:
            add_product(self.d_basis, parts.T, frames, plan.precision)
        return parts


def _through_log(gradient: Tensor, values: Tensor, log: tuple[float, float] | None) -> Tensor:
    """From the gradient in the logarithm to that in its argument; 0 below the floor."""
    if log is None:
        return gradient
    factor, amin = log
    slope = gradient * (factor / math.log(10.0)) / values.clamp_min(amin)
    return slope.masked_fill_(values < amin, 0.0)


def _through_power(gradient: Tensor, power: Tensor, exponent: float) -> Tensor:
    """From the gradient in ``power ** exponent`` to that in ``power``; 0 in silence."""
    if exponent == 1.0:
        return gradient.clone()
    slope = power.pow(exponent - 1.0).mul_(exponent).mul_(gradient)
    return slope if exponent > 1.0 else slope.masked_fill_(power == 0, 0.0)


def _overlap_add(total: Tensor, frames: Tensor, hop: int) -> None:
    """Add frames (n, n_fft), each ``hop`` after the one before, to (samples,)."""
    n_frames, n_fft = frames.shape
    # a stretch of one hop of all frames lies side by side, so it is added in one go
    for start in range(0, n_fft, hop):
        length = min(hop, n_fft - start)
        place = total[start:].as_strided((n_frames, length), (hop, 1))
        place += frames[:, start : start + length]


def _unpadded(d_padded: Tensor, item: Tensor, plan: _Plan) -> Tensor:
    """The gradient of a padded waveform carried back to the samples it was made of."""
    if not plan.padding:
        return d_padded
    with torch.enable_grad():
        source = item.detach().requires_grad_()
        padded = plan.padded(source[None])[0]
    (d_item,) = torch.autograd.grad(padded, source, d_padded)
    return d_item
