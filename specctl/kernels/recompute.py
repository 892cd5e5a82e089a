"""Training through a dense basis without keeping anything the size of a spectrogram.

Ordinary automatic differentiation keeps the real parts, the imaginary parts and every step after
them for every frame until the backward pass. Here only the waveform and the weights are kept;
the backward pass computes the frames again, block by block, and adds up what each block gives.
Only the products of a small batch are kept, which saves a quarter of the work.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from specctl.config import PadMode
from specctl.dsp.padding import pad_waveform
from specctl.kernels.bands import Bands
from specctl.kernels.base import Chain
from specctl.kernels.blocks import block_frames
from specctl.kernels.crew import n_side_by_side, rest_others, side_by_side
from specctl.kernels.gradients import GradientSums, Steps, Weighed
from specctl.kernels.overlap import Overlap
from specctl.kernels.precision import owned_precision, product
from specctl.kernels.sizes import whole_columns
from specctl.kernels.traced import followed_gradients, is_followed_again

Run = Callable[[Tensor, int, Chain, Overlap | None, Tensor | None], Tensor]
"""Samples of a block and its number of frames to values (n_bins, n_frames), no gradients.

The tensor (2 * n_freqs, n_computed), if there is one, takes the products of the frames with the
basis, as `GradientSums.weighed` wants them.
"""

_KEPT_BYTES = 2**24
"""Products of all frames with the basis are kept up to this size: a minute of audio or so."""

_BLOCK_SAMPLES = 2**20
"""Samples of all frames of a block that share pieces: many, since sums are made once a block."""

_SMALLEST_BLOCK, _LARGEST_BLOCK = 256, 1024


def recomputed(
    waveform: Tensor, padding: int, pad_mode: PadMode, chain: Chain, run: Run
) -> Tensor:
    """All of ``chain`` with a basis; differentiable in little memory, a second time in more.

    Parameters
    ----------
    waveform : Tensor, shape (batch, samples)
    padding : int
        Samples added at both ends, item by item.
    chain : Chain
        With a basis and an exponent.
    run : callable
        Computes the forward pass of a block.

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

    def forward(samples: Tensor, n_frames: int, kept: Tensor | None) -> Tensor:
        return run(samples, n_frames, chain, overlap, kept)

    mel = chain.bands.mel if chain.bands is not None else None
    spec: Tensor = _Recomputed.apply(  # type: ignore[no-untyped-call]
        waveform, chain.basis, mel, plan, steps, chain, forward
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


class _Block(NamedTuple):
    """Frames of one item; some more may be computed, so that there are whole columns or groups."""

    item: int
    first: int
    n_frames: int
    n_computed: int

    def of(self, values: Tensor) -> Tensor:
        """Its columns of (batch, rows, n_frames)."""
        return values[self.item, :, self.first : self.first + self.n_frames]

    def room(self, values: Tensor | None) -> Tensor | None:
        """Its columns of what is kept, with those of frames that nobody wants."""
        if values is None:
            return None
        return values[self.item, :, self.first : self.first + self.n_computed]


class _Plan(NamedTuple):
    """The numbers of a chain, without its weights, which autograd keeps."""

    n_fft: int
    hop_length: int
    n_frames: int
    overlap: Overlap | None
    padding: int
    pad_mode: PadMode

    def blocks(self, waveform: Tensor) -> Iterator[_Block]:
        """All frames of all items (batch, samples), in order."""
        if self.overlap is not None:
            wanted = _BLOCK_SAMPLES // self.n_fft
            at_most = min(max(wanted, _SMALLEST_BLOCK), _LARGEST_BLOCK)
            divided = list(self.overlap.blocks(self.n_frames, at_most))
        else:
            step = block_frames(self.n_fft, waveform.device)
            starts = range(0, self.n_frames, step)
            divided = [(first, min(step, self.n_frames - first)) for first in starts]
        for item in range(len(waveform)):
            for first, n_computed in divided:
                n_frames = min(n_computed, self.n_frames - first)
                yield _Block(item, first, n_frames, whole_columns(n_computed))

    def samples(self, waveform: Tensor, block: _Block) -> Tensor:
        """What the frames of a block are cut from, zeros after the end of the item."""
        item = waveform[block.item]
        n_samples = (block.n_computed - 1) * self.hop_length + self.n_fft
        start = block.first * self.hop_length - self.padding
        stop = start + n_samples
        before = self.padding if start < 0 else 0
        after = self.padding if stop > len(item) else 0
        # as much beside the padding as it may be made of
        first = 0 if before else max(0, min(start, len(item) - after - 1) if after else start)
        last = len(item) if after else max(stop, self.padding + 1) if before else stop
        padded = item[first:last]
        if before or after:
            padded = pad_waveform(padded, before, after, self.pad_mode)
        padded = padded[start + before - first :][:n_samples]
        missing = n_samples - len(padded)
        return torch.nn.functional.pad(padded, (0, missing)) if missing else padded.contiguous()

    def unpadded(self, d_padded: Tensor, item: Tensor) -> Tensor:
        """The gradient of a padded waveform carried back to the samples it was made of."""
        if not self.padding:
            return d_padded
        with torch.enable_grad():
            source = item.detach().requires_grad_()
            padded = pad_waveform(source[None], self.padding, self.padding, self.pad_mode)[0]
        (d_item,) = torch.autograd.grad(padded, source, d_padded)
        return d_item

    def kept(self, waveform: Tensor, n_rows: int) -> Tensor | None:
        """Room for the products of all frames with so many rows, if they are few enough."""
        padded = self.overlap.padded if self.overlap is not None else whole_columns
        shape = (len(waveform), n_rows, padded(self.n_frames))
        if math.prod(shape) * waveform.element_size() > _KEPT_BYTES:
            return None
        return waveform.new_empty(shape)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        waveform: Tensor,
        basis: Tensor,
        mel: Tensor | None,
        plan: _Plan,
        steps: Steps,
        chain: Chain,
        forward: Callable[[Tensor, int, Tensor | None], Tensor],
    ) -> Tensor:
        kept = plan.kept(waveform, len(basis))
        n_bins = len(basis) // 2 if mel is None else len(mel)
        spec = waveform.new_empty((len(waveform), n_bins, plan.n_frames))

        def run(block: _Block) -> None:
            samples = plan.samples(waveform, block)
            block.of(spec).copy_(forward(samples, block.n_frames, block.room(kept)))

        rest_others(waveform.device)
        with owned_precision(waveform.device, steps.precision):
            tasks = [partial(run, block) for block in plan.blocks(waveform)]
            side_by_side(tasks, waveform.device)
        ctx.save_for_backward(waveform, basis, mel, kept)
        # the basis is kept above, where autograd sees when somebody changes it
        ctx.plan, ctx.steps, ctx.chain = plan, steps, replace(chain, basis=None)
        return spec

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        waveform, basis, mel, kept = ctx.saved_tensors
        wants_waveform, wants_basis, wants_mel = ctx.needs_input_grad[:3]
        plan: _Plan = ctx.plan
        if is_followed_again(gradient):
            chain = replace(ctx.chain, basis=basis, bands=None if mel is None else Bands(mel))
            inputs = zip((waveform, basis, mel), ctx.needs_input_grad, strict=False)
            wanted = [tensor if is_wanted else None for tensor, is_wanted in inputs]
            padded = (plan.padding, plan.pad_mode)
            found = followed_gradients(gradient, waveform, *padded, chain, wanted)
            return (*found, None, None, None, None)
        sums = GradientSums(
            basis,
            ctx.chain.bands,
            ctx.steps,
            hop_length=plan.hop_length,
            wants_basis=wants_basis,
            wants_mel=wants_mel,
            overlap=plan.overlap,
        )
        d_waveform = _WaveformGradient(waveform, plan) if wants_waveform else None

        def weigh(block: _Block) -> Weighed:
            samples = plan.samples(waveform, block)
            return sums.weighed(samples, block.of(gradient), block.room(kept))

        blocks = list(plan.blocks(waveform))
        n_at_once = n_side_by_side(waveform.device)
        rest_others(waveform.device)
        with owned_precision(waveform.device, ctx.steps.precision):
            for first in range(0, len(blocks), n_at_once):
                some = blocks[first : first + n_at_once]
                weighed = side_by_side([partial(weigh, block) for block in some], waveform.device)
                sums.add(weighed)
                if d_waveform is not None:
                    for block, (parts, _, _) in zip(some, weighed, strict=True):
                        d_waveform.add(block, product(parts.T, basis.T, ctx.steps.precision))
                # or it would be there beside that of the next blocks
                del weighed
        of_samples = d_waveform.total() if d_waveform is not None else None
        return of_samples, sums.d_basis, sums.d_mel, None, None, None, None


class _WaveformGradient:
    """What frames give to the samples they were cut from, item by item."""

    def __init__(self, waveform: Tensor, plan: _Plan) -> None:
        self._waveform, self._plan = waveform, plan
        self._total = torch.zeros_like(waveform)
        self._item = 0
        self._d_padded = self._silence()

    def add(self, block: _Block, d_frames: Tensor) -> None:
        """Add gradients (n, n_fft) of the frames of a block, of which none may be left out."""
        if block.item != self._item:
            self._put_away()
            self._item, self._d_padded = block.item, self._silence()
        start = block.first * self._plan.hop_length
        _overlap_add(self._d_padded[start:], d_frames, self._plan.hop_length)

    def total(self) -> Tensor:
        """The gradient of all items."""
        self._put_away()
        return self._total

    def _silence(self) -> Tensor:
        return self._waveform.new_zeros(self._waveform.shape[1] + 2 * self._plan.padding)

    def _put_away(self) -> None:
        item = self._item
        self._total[item] = self._plan.unpadded(self._d_padded, self._waveform[item])


def _overlap_add(total: Tensor, frames: Tensor, hop: int) -> None:
    """Add frames (n, n_fft), each ``hop`` after the one before, to (samples,)."""
    n_frames, n_fft = frames.shape
    # a stretch of one hop of all frames lies side by side, so it is added in one go
    for start in range(0, n_fft, hop):
        length = min(hop, n_fft - start)
        place = total[start:].as_strided((n_frames, length), (hop, 1))
        place += frames[:, start : start + length]
