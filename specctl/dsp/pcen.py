"""Per-channel energy normalisation: a gain control and a root in place of the logarithm.

References
----------
Wang, Getreuer, Hughes, Lyon, Saurous, "Trainable frontend for robust and far-field keyword
spotting", ICASSP 2017.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

_BLOCK = 64
"""Frames that are smoothed together; the next block begins where they ended."""

_SILENCE = 1e-300
"""What has a logarithm in float64, and is nothing beside any power."""


def pcen(
    spec: Tensor,
    smooth: Tensor,
    *,
    gain: Tensor,
    bias: Tensor,
    power: Tensor,
    eps: float,
) -> Tensor:
    """``(spec / (eps + smooth) ** gain + bias) ** power - bias ** power``, band by band.

    Parameters
    ----------
    spec, smooth : Tensor, shape (..., n_bands, n_frames)
        Not negative; ``smooth`` is what `smoothed` gives for ``spec``.
    gain, bias, power : Tensor, shape (n_bands,)
        Above 0.
    eps : float
        Above 0; keeps silence from being divided by 0.

    Returns
    -------
    Tensor, same shape

    Notes
    -----
    In logarithms, as ``librosa.pcen`` does: the differences of large numbers stay exact.
    """
    gain, bias, power = gain[:, None], bias[:, None], power[:, None]
    log_factor = -gain * (math.log(eps) + torch.log1p(smooth / eps))
    # silence times an infinite factor would be no number
    largest = math.log(torch.finfo(spec.dtype).max) - 1.0
    levelled = spec * torch.exp(log_factor.clamp_max(largest))
    return bias**power * torch.expm1(power * torch.log1p(levelled / bias))


def smoothed(spec: Tensor, smoothing: Tensor, before: Tensor | None = None) -> Tensor:
    """First-order recursive mean, ``m[t] = (1 - s) * m[t - 1] + s * spec[t]``.

    Parameters
    ----------
    spec : Tensor, shape (batch, n_bands, n_frames)
    smoothing : Tensor, shape (n_bands,)
        ``s`` of each band, in (0, 1).
    before : Tensor, optional, shape (batch, n_bands)
        The mean before the first frame; without it, the first frame itself.

    Returns
    -------
    Tensor, same shape
        Its last frame is ``before`` of what follows.

    Notes
    -----
    In a block of frames, sums over one frame become sums over two, four, eight and so on, so that
    few steps wait for each other. None of them is a product of matrices, whose last bit would
    depend on how many items there are.
    """
    n_frames = spec.shape[-1]
    size = min(_BLOCK, n_frames)
    mean = spec[..., 0] if before is None else before
    ages = torch.arange(1, size + 1, device=spec.device, dtype=spec.dtype)
    # (n_bands, size): what is left of a frame so many frames later
    remains = torch.exp(torch.log1p(-smoothing)[:, None] * ages)
    padded = pad(spec * smoothing[:, None], (0, -n_frames % size))
    shares: Tensor = padded.unflatten(-1, (-1, size))  # type: ignore[no-untyped-call]
    reach = 1
    while reach < size:
        earlier = shares[..., :-reach] * remains[:, None, reach - 1 : reach]
        shares = torch.cat([shares[..., :reach], shares[..., reach:] + earlier], dim=-1)
        reach *= 2
    means = []
    for own in shares.unbind(-2):
        block = own + mean[..., None] * remains
        mean = block[..., -1]
        means.append(block)
    return torch.cat(means, dim=-1)[..., :n_frames]


def smoothed_followed(spec: Tensor, smoothing: Tensor, before: Tensor | None = None) -> Tensor:
    """`smoothed` by the same operations for any length, as a graph needs it.

    Notes
    -----
    A frame's share falls as ``(1 - s) ** age``, beyond the range of any float, so sums are those
    of logarithms. In float64, as their error grows with the number of frames.
    """
    mean = spec[..., 0] if before is None else before
    shares = torch.cat([mean[..., None], smoothing[:, None] * spec], dim=-1).double()
    ages = torch.arange(shares.shape[-1], device=spec.device, dtype=torch.float64)
    remains = torch.log1p(-smoothing.double())[:, None] * ages
    sums = torch.logcumsumexp(torch.log(shares + _SILENCE) - remains, dim=-1)
    return torch.exp(sums + remains)[..., 1:].to(spec.dtype)


def default_smoothing(sample_rate: int, hop_length: int, time_constant: float = 0.4) -> float:
    """The ``s`` of `smoothed` for a time constant in seconds, as ``librosa.pcen`` derives it."""
    frames = time_constant * sample_rate / hop_length
    return (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
