"""The backward pass of a dense basis, block by block.

Everything lies by rows: rows of the basis or bands first, frames second, as products with the
basis come out and as spectrograms are wanted.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from specctl.config import Precision
from specctl.kernels.bands import Bands
from specctl.kernels.blocks import raised
from specctl.kernels.crew import n_side_by_side, side_by_side
from specctl.kernels.overlap import Overlap, add_gradient, fill_products
from specctl.kernels.precision import add_product, product

_WEIGHED_VALUES = 2**19
"""Products that are weighed at a time, 2 MB: what they are weighed with takes as much again."""


class Steps(NamedTuple):
    """What follows the products: an exponent of the magnitude, bands, a logarithm."""

    power: float
    log: tuple[float, float] | None  # factor, amin
    precision: Precision


class BlockGradient(NamedTuple):
    """Of a block: the gradient in its products, what they are products of, that in the bands."""

    parts: Tensor  # (2 * n_freqs, n)
    pieces: list[Tensor]  # frames (n, n_fft), or what `Overlap.differences` makes of them
    d_mel: Tensor | None


class GradientSums:
    """Gradients that add up over all frames of all items.

    Parameters
    ----------
    basis : Tensor, shape (2 * n_freqs, n_fft)
    bands : Bands, optional
    steps : Steps
    hop_length : int
    wants_basis, wants_mel : bool
        Which gradients are wanted.
    overlap : Overlap, optional
        How frames share pieces, where that is to be made use of.

    Attributes
    ----------
    d_basis, d_mel : Tensor, optional
        The gradients in basis and bands, as far as they are summed up.
    """

    def __init__(
        self,
        basis: Tensor,
        bands: Bands | None,
        steps: Steps,
        *,
        hop_length: int,
        wants_basis: bool,
        wants_mel: bool,
        overlap: Overlap | None,
    ) -> None:
        self._basis = basis
        self._n_freqs = len(basis) // 2
        self._bands = bands
        self._steps = steps
        self._hop_length = hop_length
        self._overlap = overlap
        self.d_basis = torch.zeros_like(basis) if wants_basis else None
        self.d_mel = torch.zeros_like(bands.mel) if wants_mel and bands is not None else None

    def weighed(self, samples: Tensor, gradient: Tensor, kept: Tensor | None) -> BlockGradient:
        """What one block gives; blocks do not depend on each other.

        Parameters
        ----------
        samples : Tensor, shape (items, n_samples)
            Those its frames are cut from.
        gradient : Tensor, shape (items, n_bins, n_frames)
            Of the first of these frames; what nobody wants of the others has none.
        kept : Tensor, optional, shape (2 * n_freqs, n)
            The products of its frames; without them they are computed again. Where frames share
            pieces, they lie as `Overlap.exact` arranges them.
        """
        d_mel = torch.zeros_like(self.d_mel) if self.d_mel is not None else None
        n_computed = 1 + (samples.shape[1] - self._basis.shape[1]) // self._hop_length
        missing = n_computed - gradient.shape[2]
        gradient = torch.nn.functional.pad(gradient, (0, missing)).transpose(0, 1).flatten(1)
        if self._overlap is not None:
            gradient = self._overlap.arranged(gradient)
            given, pieces = self._overlapping(samples, n_computed, self._overlap, kept)
        else:
            given, pieces = self._plain(samples, kept)
        # what is kept stays, since whoever retains the graph may ask for gradients twice
        parts = given if kept is None else torch.empty_like(given)
        self._weigh(given, gradient, parts, d_mel)
        return BlockGradient(parts, pieces, d_mel)

    def _plain(self, samples: Tensor, kept: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Products of a block, and its frames."""
        n_fft = self._basis.shape[1]
        frames = samples.unfold(1, n_fft, self._hop_length).reshape(-1, n_fft)
        if kept is not None:
            return kept, [frames]
        return product(self._basis, frames, self._steps.precision), [frames]

    def _overlapping(
        self, samples: Tensor, n_computed: int, overlap: Overlap, kept: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Products of a block, arranged, and what they are made of."""
        pieces = overlap.differences(samples, n_computed)
        if kept is not None:
            return overlap.refined(kept), pieces
        parts = samples.new_empty((len(self._basis), len(samples) * n_computed))
        fill_products(overlap, self._basis, pieces, parts)
        return parts, pieces

    def add(self, weighed: Sequence[BlockGradient]) -> None:
        """Add what some blocks give, in their order; each thread has rows of its own."""
        for each in weighed:
            if self.d_mel is not None and each.d_mel is not None:
                self.d_mel += each.d_mel
        if self.d_basis is None:
            return
        n_tasks = n_side_by_side(self._basis.device)
        step = -(-len(self._basis) // n_tasks)
        rows = [slice(first, first + step) for first in range(0, len(self._basis), step)]
        side_by_side([partial(self._add_rows, each, weighed) for each in rows], self._basis.device)

    def _add_rows(self, rows: slice, weighed: Sequence[BlockGradient]) -> None:
        if self.d_basis is None:
            return
        total = self.d_basis[rows]
        for parts, pieces, _ in weighed:
            if self._overlap is not None:
                add_gradient(self._overlap, parts[rows], pieces, total)
            else:
                add_product(total, parts[rows], pieces[0], self._steps.precision)

    def _weigh(self, parts: Tensor, gradient: Tensor, out: Tensor, d_mel: Tensor | None) -> None:
        """From products (2 * n_freqs, n) to their own gradient."""
        steps, compiled = self._steps, None
        if self._bands is not None and d_mel is None:
            compiled = self._bands.compiled(parts, steps.power, steps.precision)
        if self._bands is not None and compiled is not None:
            values = parts.new_empty((self._bands.n_mels, parts.shape[1]))
            compiled.values(parts.numpy(), values.numpy())
            slope = _through_log(gradient, values, steps.log).contiguous()
            compiled.weigh(parts.numpy(), slope.numpy(), out.numpy())
            return
        step = max(1, _WEIGHED_VALUES // len(parts))
        for first in range(0, parts.shape[1], step):
            frames = slice(first, first + step)
            slope = self._slope(parts[:, frames], gradient[:, frames], d_mel)
            for half in (slice(self._n_freqs), slice(self._n_freqs, None)):
                torch.mul(parts[half, frames], slope, out=out[half, frames])

    def _slope(self, parts: Tensor, gradient: Tensor, d_mel: Tensor | None) -> Tensor:
        """What products (2 * n_freqs, n) are multiplied with to give their own gradient.

        ``gradient`` (n_bins, n) is that in what comes out; the result is (n_freqs, n). That in
        the bands is added to ``d_mel``.
        """
        steps = self._steps
        power = parts[: self._n_freqs].square()
        power.addcmul_(parts[self._n_freqs :], parts[self._n_freqs :])
        values = raised(power, steps.power / 2)
        if self._bands is None:
            gradient = 2 * _through_log(gradient, values, steps.log)
        else:
            bands = self._bands.block(values.T, steps.precision)
            gradient = _through_log(gradient, bands, steps.log)
            if d_mel is not None:
                add_product(d_mel, gradient, values.T, steps.precision)
            gradient = self._bands.spread(2 * gradient, steps.precision)
        return _through_power(gradient, power, steps.power / 2)


def _through_log(gradient: Tensor, values: Tensor, log: tuple[float, float] | None) -> Tensor:
    """From the gradient in the logarithm to that in its argument, which is overwritten.

    0 below the floor.
    """
    if log is None:
        return gradient
    factor, amin = log
    is_silent = values < amin
    slope = torch.div(gradient, values.clamp_min_(amin), out=values).mul_(factor / math.log(10.0))
    return slope.masked_fill_(is_silent, 0.0)


def _through_power(gradient: Tensor, power: Tensor, exponent: float) -> Tensor:
    """From the gradient in ``power ** exponent`` to that in ``power``; 0 in silence."""
    if exponent == 1.0:
        return gradient
    slope = power.pow(exponent - 1.0).mul_(exponent).mul_(gradient)
    return slope if exponent > 1.0 else slope.masked_fill_(power == 0, 0.0)
