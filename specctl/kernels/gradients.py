"""The backward pass of a dense basis, block by block.

Everything lies by rows: rows of the basis or bands first, frames second, as products with the
basis come out and as spectrograms are wanted.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from specctl.config import Precision
from specctl.kernels.bands import Bands
from specctl.kernels.blocks import block_frames, raised
from specctl.kernels.overlap import Overlap, OverlapProducts
from specctl.kernels.precision import add_product, product

_WEIGHED_VALUES = 2**19
"""Products that are weighed at a time, 2 MB: what they are weighed with takes as much again."""


class Steps(NamedTuple):
    """What follows the products: an exponent of the magnitude, bands, a logarithm."""

    power: float
    log: tuple[float, float] | None  # factor, amin
    precision: Precision


class GradientSums:
    """Gradients that add up over all frames of all items.

    Parameters
    ----------
    basis : Tensor, shape (2 * n_freqs, n_fft)
    bands : Bands, optional
    steps : Steps
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
        wants_basis: bool,
        wants_mel: bool,
        overlap: Overlap | None,
    ) -> None:
        self._basis = basis
        self._n_freqs = len(basis) // 2
        self._bands = bands
        self._steps = steps
        self._overlap = overlap
        self._shared = OverlapProducts(basis, overlap) if overlap is not None else None
        self.d_basis = torch.zeros_like(basis) if wants_basis else None
        self.d_mel = torch.zeros_like(bands.mel) if wants_mel and bands is not None else None

    def add(
        self,
        padded: Tensor,
        hop_length: int,
        gradient: Tensor,
        kept: Tensor | None,
        d_padded: Tensor | None,
    ) -> None:
        """One item.

        Parameters
        ----------
        padded : Tensor, shape (samples,)
        hop_length : int
        gradient : Tensor, shape (n_bins, n_frames)
        kept : Tensor, optional, shape (2 * n_freqs, at least n_frames)
            The products of its frames; without them they are computed again. Where frames share
            pieces, they lie block by block as `Overlap.arranged` puts them.
        d_padded : Tensor, optional, shape (samples,)
            Where the gradient in its samples is added.
        """
        if self._overlap is not None and self._shared is not None:
            self._add_overlapping(padded, self._overlap, self._shared, gradient, kept)
            return
        n_fft = self._basis.shape[1]
        frames = padded.unfold(0, n_fft, hop_length)
        step = block_frames(n_fft, padded.device)
        for first in range(0, len(frames), step):
            last = min(first + step, len(frames))
            block = frames[first:last].contiguous()
            if kept is None:
                parts = product(self._basis, block, self._steps.precision)
                self._weigh(parts, gradient[:, first:last], parts)
            else:
                # not in place, since whoever retains the graph may ask for gradients twice
                parts = padded.new_empty((len(kept), last - first))
                self._weigh(kept[:, first:last], gradient[:, first:last], parts)
            if self.d_basis is not None:
                add_product(self.d_basis, parts, block, self._steps.precision)
            if d_padded is not None:
                d_frames = product(parts.T, self._basis.T, self._steps.precision)
                _overlap_add(d_padded[first * hop_length :], d_frames, hop_length)

    def _add_overlapping(
        self,
        padded: Tensor,
        overlap: Overlap,
        shared: OverlapProducts,
        gradient: Tensor,
        kept: Tensor | None,
    ) -> None:
        n_frames = gradient.shape[1]
        # frames of zeros have a gradient of zeros
        padded = overlap.lengthened(padded, n_frames)
        for first, n in overlap.blocks(n_frames):
            ours = gradient[:, first : first + n]
            ours = overlap.arranged(torch.nn.functional.pad(ours, (0, n - ours.shape[1])))
            differences = overlap.differences(padded, first, n)
            parts = padded.new_empty((2 * self._n_freqs, n))
            if kept is None:
                shared.products(differences, parts)
                self._weigh(parts, ours, parts)
            else:
                self._weigh(kept[:, first : first + n], ours, parts)
            if self.d_basis is not None:
                shared.add_gradient(parts, differences, self.d_basis)

    def _weigh(self, parts: Tensor, gradient: Tensor, out: Tensor) -> None:
        """From products (2 * n_freqs, n) to their own gradient, a few frames at a time."""
        step = max(1, _WEIGHED_VALUES // len(parts))
        for first in range(0, parts.shape[1], step):
            frames = slice(first, first + step)
            slope = self._slope(parts[:, frames], gradient[:, frames])
            for half in (slice(self._n_freqs), slice(self._n_freqs, None)):
                torch.mul(parts[half, frames], slope, out=out[half, frames])

    def _slope(self, parts: Tensor, gradient: Tensor) -> Tensor:
        """What products (2 * n_freqs, n) are multiplied with to give their own gradient.

        ``gradient`` (n_bins, n) is that in what comes out; the result is (n_freqs, n).
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
            if self.d_mel is not None:
                add_product(self.d_mel, gradient, values.T, steps.precision)
            gradient = self._bands.spread(2 * gradient, steps.precision)
        return _through_power(gradient, power, steps.power / 2)


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
        return gradient
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
