"""Tapers, in float64."""

import math

import torch
from torch import Tensor

from specctl.config import StftConfig, Window

_COSINE_TERMS: dict[Window, tuple[float, ...]] = {
    "hann": (0.5, -0.5),
    "hamming": (0.54, -0.46),
    "blackman": (0.42, -0.5, 0.08),
    "boxcar": (1.0,),
}


def window(config: StftConfig) -> Tensor:
    """Periodic window of ``win_length``, zero-padded on both sides to ``n_fft``.

    Returns
    -------
    Tensor, shape (n_fft,), float64
        What ``librosa.filters.get_window(fftbins=True)`` gives, centred as librosa does.
    """
    turn = 2 * math.pi / config.win_length
    angle = torch.arange(config.win_length, dtype=torch.float64) * turn
    taper = torch.zeros_like(angle)
    # a single sample is not tapered, which would silence it
    terms = _COSINE_TERMS[config.window] if config.win_length > 1 else (1.0,)
    for order, weight in enumerate(terms):
        taper += weight * torch.cos(order * angle)
    before = (config.n_fft - config.win_length) // 2
    return torch.nn.functional.pad(taper, (before, config.n_fft - config.win_length - before))
