"""What keeps trained weights sensible: penalties to add to a loss, and a projection.

Each penalty is 0 where its wish is fulfilled, free of units, and does not grow with the number of
rows, so that one weight for it suits every size of transform.
"""

from typing import Any

import torch
from torch import Tensor

from specctl.errors import ParameterError

_BLOCK_ROWS = 256
"""Rows that are compared with all others at once: memory is this times the number of rows."""


def distance_from_start(weight: Tensor, start: Tensor) -> Tensor:
    """Squared distance from where training began, as a share of the start's own size.

    Parameters
    ----------
    weight, start : Tensor, of one shape

    Returns
    -------
    Tensor, shape ()
    """
    _check_like(weight, start)
    start = start.detach()
    return (weight - start).square().sum() / _positive(start.square().sum())


def norm_penalty(basis: Tensor, start: Tensor | None = None) -> Tensor:
    """How far the norms of complex rows are from 1, or from those they started with.

    Parameters
    ----------
    basis : Tensor, shape (2 * n_freqs, n_fft)
    start : Tensor, optional, same shape

    Returns
    -------
    Tensor, shape ()
        Mean of ``(norm / wanted - 1) ** 2`` over the rows.
    """
    norms = row_norms(basis)
    if start is not None:
        _check_like(basis, start)
        norms = norms / _positive(row_norms(start.detach()))
    return (norms - 1).square().mean()


def row_norms(basis: Tensor) -> Tensor:
    """Norm of each complex row: (2 * n_freqs, n_fft) to (n_freqs,)."""
    real, imaginary = basis.chunk(2)
    squares = real.square().sum(-1) + imaginary.square().sum(-1)
    # a root has no slope at 0
    return _positive(squares).sqrt()


def orthogonality_penalty(basis: Tensor) -> Tensor:
    """Mean squared cosine of the angle between every two rows.

    Parameters
    ----------
    basis : Tensor, shape (n_rows, n_fft)
        Rows of zeros are left out.

    Returns
    -------
    Tensor, shape ()
        0 where all rows are orthogonal, 1 where all are parallel. Never holds the cosines of all
        pairs, but for second derivatives.

    Notes
    -----
    A window makes neighbouring Fourier rows overlap: a Hann window gives them a cosine of 2/3,
    so that even an untrained basis is not at 0.
    """
    squares = basis.square().sum(-1, keepdim=True)
    unit = basis / _positive(squares).sqrt()
    n_rows = (squares > 0).sum()
    pairs = _positive((n_rows * (n_rows - 1)).to(basis.dtype))
    overlap: Tensor = _Overlap.apply(unit)  # type: ignore[no-untyped-call]
    return overlap / pairs


def negative_penalty(mel: Tensor) -> Tensor:
    """Negative weights of bands, squared, as a share of all.

    Parameters
    ----------
    mel : Tensor, shape (n_mels, n_freqs)

    Returns
    -------
    Tensor, shape ()
    """
    return mel.clamp_max(0).square().sum() / _positive(mel.detach().square().sum())


@torch.no_grad()
def clip_negative(mel: Tensor) -> None:
    """Set negative weights of bands to 0, in place; for after a step of the optimiser."""
    mel.clamp_min_(0)


class _Overlap(torch.autograd.Function):
    """Sum of squared products of different rows; the gradient is made along with it."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor) -> Tensor:
        total = unit.new_zeros(())
        gradient = torch.empty_like(unit)
        for first in range(0, len(unit), _BLOCK_ROWS):
            last = min(first + _BLOCK_ROWS, len(unit))
            cosines = unit[first:last] @ unit.T
            cosines.diagonal(first).zero_()
            total += cosines.square().sum()
            # each pair is met twice, once from either side
            torch.mm(cosines, unit, out=gradient[first:last])
        ctx.save_for_backward(unit, gradient.mul_(4))
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        unit, of_total = ctx.saved_tensors
        if torch.is_grad_enabled():
            cosines = unit @ unit.T
            of_total = 4 * (cosines - torch.diag(cosines.diagonal())) @ unit
        result: Tensor = gradient * of_total
        return result


def _positive(value: Tensor) -> Tensor:
    """Something to divide by or take the root of: what is 0 becomes the least that is not."""
    return value.clamp_min(torch.finfo(value.dtype).tiny)


def _check_like(weight: Tensor, start: Tensor) -> None:
    if weight.shape != start.shape:
        raise ParameterError(
            f"start must have the shape of the weight, {tuple(weight.shape)}, "
            f"got {tuple(start.shape)}"
        )
