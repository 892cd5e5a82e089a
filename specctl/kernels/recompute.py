"""Training through a dense basis without keeping anything the size of a spectrogram.

Ordinary automatic differentiation keeps the real parts, the imaginary parts and every step after
them for every frame until the backward pass. Here only the waveform and the weights are kept;
the backward pass computes the frames again, block by block, and adds up what each block gives.
Only the products of a small batch are kept, which saves a quarter of the work.
"""

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
from specctl.kernels.gradients import BlockGradient, GradientSums, Steps
from specctl.kernels.joined import are_joined
from specctl.kernels.overlap import Overlap
from specctl.kernels.precision import owned_precision, product
from specctl.kernels.sizes import FEWEST_COLUMNS, stretches, whole_columns
from specctl.kernels.traced import followed_gradients, is_followed_again

Run = Callable[[Tensor, int, Chain, Overlap | None, Tensor | None], Tensor]
"""Samples of a block (items, n_samples) and the number of frames that are wanted of each item to
values (items, n_bins, n_frames), no gradients.

The tensor (2 * n_freqs, n), if there is one, takes the products of the frames with the
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
    plan = _Plan(chain.n_fft, chain.hop_length, n_frames, overlap, padding, pad_mode, False)
    plan = plan._replace(joins_items=_joins_items(plan, waveform, chain, run))
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


def _joins_items(plan: "_Plan", waveform: Tensor, chain: Chain, run: Run) -> bool:
    """Whether a block may hold several short items; tried with items of one frame each."""
    if len(waveform) < 2 or plan.fitting(waveform.device) < 2:
        return False
    plan = plan._replace(n_frames=1, padding=0, joins_items=True)

    def values(items: Tensor) -> Tensor:
        samples = [plan.samples(items, block) for block in plan.blocks(items)]
        return torch.cat([run(each, 1, chain, plan.overlap, None) for each in samples])

    shape = (plan.fitting(waveform.device), plan.n_fft)
    with owned_precision(waveform.device, chain.precision):
        return are_joined(values, shape, waveform, chain, trains=True, overlap=plan.overlap)


class _Block(NamedTuple):
    """So many frames of some items, of several only where these are all that there are.

    Some more of each are computed, so that there are whole columns or groups.
    """

    items: slice
    first: int
    n_frames: int
    n_computed: int

    @property
    def n_columns(self) -> int:
        """Frames of all items that are computed."""
        n_items: int = self.items.stop - self.items.start
        return n_items * self.n_computed

    def of(self, values: Tensor) -> Tensor:
        """Its columns of (batch, rows, n_frames)."""
        return values[self.items, :, self.first : self.first + self.n_frames]


class _Plan(NamedTuple):
    """The numbers of a chain, without its weights, which autograd keeps."""

    n_fft: int
    hop_length: int
    n_frames: int
    overlap: Overlap | None
    padding: int
    pad_mode: PadMode
    joins_items: bool

    def at_most(self, device: torch.device) -> int:
        """Frames of a block."""
        if self.overlap is None:
            return block_frames(self.n_fft, device)
        return min(max(_BLOCK_SAMPLES // self.n_fft, _SMALLEST_BLOCK), _LARGEST_BLOCK)

    def blocks(self, waveform: Tensor) -> Iterator[_Block]:
        """All frames of all items (batch, samples), in order."""
        at_most = self.at_most(waveform.device)
        if self.overlap is not None:
            divided = list(self.overlap.blocks(self.n_frames, at_most))
        else:
            starts = range(0, self.n_frames, at_most)
            divided = [(first, min(at_most, self.n_frames - first)) for first in starts]
        for item, end in stretches(len(waveform), self._n_joined(waveform)):
            for first, n in divided:
                n_frames = min(n, self.n_frames - first)
                n_computed = self._n_computed(end - item, n_frames)
                yield _Block(slice(item, end), first, n_frames, n_computed)

    def fitting(self, device: torch.device) -> int:
        """Whole items of a block."""
        return self.at_most(device) // self._whole_units(self.n_frames)

    def _n_joined(self, waveform: Tensor) -> int:
        """Most items of a block; no thread is left without one."""
        if not self.joins_items:
            return 1
        share = -(-len(waveform) // n_side_by_side(waveform.device))
        return max(1, min(self.fitting(waveform.device), share))

    def _n_computed(self, n_items: int, n_frames: int) -> int:
        """Frames of each of some items; of an item alone whole columns or groups."""
        # half of those that share pieces are the columns of a product
        fewest = FEWEST_COLUMNS if self.overlap is None else 2 * FEWEST_COLUMNS
        n_computed = max(n_frames, -(-fewest // n_items))
        if n_items > 1:
            return self._whole_units(n_computed)
        padded = whole_columns if self.overlap is None else self.overlap.padded
        return padded(n_computed)

    def _whole_units(self, n_frames: int) -> int:
        unit = 1 if self.overlap is None else self.overlap.unit
        return -(-n_frames // unit) * unit

    def samples(self, waveform: Tensor, block: _Block) -> Tensor:
        """What the frames of a block are cut from, zeros after the last one that is wanted."""
        items = waveform[block.items]
        n_given = items.shape[1]
        n_samples = (block.n_frames - 1) * self.hop_length + self.n_fft
        start = block.first * self.hop_length - self.padding
        stop = start + n_samples
        before = self.padding if start < 0 else 0
        after = self.padding if stop > n_given else 0
        # as much beside the padding as it may be made of
        first = 0 if before else max(0, min(start, n_given - after - 1) if after else start)
        last = n_given if after else max(stop, self.padding + 1) if before else stop
        padded = items[:, first:last]
        if before or after:
            padded = pad_waveform(padded, before, after, self.pad_mode)
        padded = padded[:, start + before - first :][:, :n_samples]
        missing = (block.n_computed - block.n_frames) * self.hop_length
        return torch.nn.functional.pad(padded, (0, missing)) if missing else padded.contiguous()

    def unpadded(self, d_padded: Tensor, items: Tensor) -> Tensor:
        """The gradient of padded waveforms carried back to the samples they were made of."""
        if not self.padding:
            return d_padded
        with torch.enable_grad():
            source = items.detach().requires_grad_()
            padded = pad_waveform(source, self.padding, self.padding, self.pad_mode)
        (d_items,) = torch.autograd.grad(padded, source, d_padded)
        return d_items

    def kept(self, waveform: Tensor, n_rows: int) -> list[Tensor | None]:
        """Room for the products of each block with so many rows, if all are few enough."""
        n_columns = [block.n_columns for block in self.blocks(waveform)]
        if sum(n_columns) * n_rows * waveform.element_size() > _KEPT_BYTES:
            return [None] * len(n_columns)
        return [waveform.new_empty((n_rows, n)) for n in n_columns]


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

        def run(block: _Block, room: Tensor | None) -> None:
            samples = plan.samples(waveform, block)
            block.of(spec).copy_(forward(samples, block.n_frames, room))

        rest_others(waveform.device)
        with owned_precision(waveform.device, steps.precision):
            blocks = zip(plan.blocks(waveform), kept, strict=True)
            side_by_side([partial(run, *each) for each in blocks], waveform.device)
        ctx.save_for_backward(waveform, basis, mel, *kept)
        # the basis is kept above, where autograd sees when somebody changes it
        ctx.plan, ctx.steps, ctx.chain = plan, steps, replace(chain, basis=None)
        return spec

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        waveform, basis, mel, *kept = ctx.saved_tensors
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

        def weigh(block: _Block, room: Tensor | None) -> BlockGradient:
            return sums.weighed(plan.samples(waveform, block), block.of(gradient), room)

        blocks = list(zip(plan.blocks(waveform), kept, strict=True))
        n_at_once = n_side_by_side(waveform.device)
        rest_others(waveform.device)
        with owned_precision(waveform.device, ctx.steps.precision):
            for first in range(0, len(blocks), n_at_once):
                some = blocks[first : first + n_at_once]
                weighed = side_by_side([partial(weigh, *each) for each in some], waveform.device)
                sums.add(weighed)
                if d_waveform is not None:
                    for (block, _), (parts, _, _) in zip(some, weighed, strict=True):
                        d_waveform.add(block, product(parts.T, basis.T, ctx.steps.precision))
                # or it would be there beside that of the next blocks
                del weighed
        of_samples = d_waveform.total() if d_waveform is not None else None
        return of_samples, sums.d_basis, sums.d_mel, None, None, None, None


class _WaveformGradient:
    """What frames give to the samples they were cut from, in the order of blocks."""

    def __init__(self, waveform: Tensor, plan: _Plan) -> None:
        self._waveform, self._plan = waveform, plan
        self._total = torch.zeros_like(waveform)
        self._items = slice(0, 0)
        self._d_padded = self._silence()

    def add(self, block: _Block, d_frames: Tensor) -> None:
        """Add gradients (n_columns, n_fft) of all that was computed of a block."""
        if block.items != self._items:
            self._put_away()
            self._items = block.items
            self._d_padded = self._silence()
        start = block.first * self._plan.hop_length
        wanted = d_frames.view(-1, block.n_computed, d_frames.shape[1])[:, : block.n_frames]
        _overlap_add(self._d_padded[:, start:], wanted, self._plan.hop_length)

    def total(self) -> Tensor:
        """The gradient of all items."""
        self._put_away()
        return self._total

    def _silence(self) -> Tensor:
        items = self._waveform[self._items]
        return items.new_zeros((len(items), items.shape[1] + 2 * self._plan.padding))

    def _put_away(self) -> None:
        items = self._items
        self._total[items] = self._plan.unpadded(self._d_padded, self._waveform[items])


def _overlap_add(total: Tensor, frames: Tensor, hop: int) -> None:
    """Add frames (items, n, n_fft), each ``hop`` after the one before, to (items, samples)."""
    n_items, n_frames, n_fft = frames.shape
    # a stretch of one hop of all frames lies side by side, so it is added in one go
    for start in range(0, n_fft, hop):
        length = min(hop, n_fft - start)
        shape, strides = (n_items, n_frames, length), (total.stride(0), hop, 1)
        place = total[:, start:].as_strided(shape, strides)
        place += frames[..., start : start + length]
