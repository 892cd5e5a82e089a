"""Padding of a waveform at its ends, as ``numpy.pad`` does it."""

import torch
from torch import Tensor

from specctl.config import PadMode


def pad_waveform(waveform: Tensor, before: int, after: int, mode: PadMode) -> Tensor:
    """Lengthen a waveform at both ends.

    Parameters
    ----------
    waveform : Tensor, shape (..., samples)
        At least one sample.
    before, after : int
        Samples to add; may exceed the waveform's length (reflection then goes to and fro).

    Returns
    -------
    Tensor, shape (..., before + samples + after)
    """
    if mode == "constant":
        # not torch's pad, which writes every sample twice
        left, right = (waveform.new_zeros((*waveform.shape[:-1], n)) for n in (before, after))
        return torch.cat([left, waveform, right], dim=-1)
    n_samples = waveform.shape[-1]
    earlier = torch.arange(-before, 0, device=waveform.device)
    later = torch.arange(n_samples, n_samples + after, device=waveform.device)
    left, right = (waveform[..., _source(at, n_samples, mode)] for at in (earlier, later))
    return torch.cat([left, waveform, right], dim=-1)


def _source(places: Tensor, n_samples: int, mode: PadMode) -> Tensor:
    """Which sample stands at each of ``places``, some of them outside [0, n_samples)."""
    if mode == "edge" or n_samples == 1:
        return places.clamp(0, n_samples - 1)
    period = 2 * (n_samples - 1)
    places = places % period
    return torch.minimum(places, period - places)
