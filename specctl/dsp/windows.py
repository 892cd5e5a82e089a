"""Tapers, in float64."""

import math
from typing import TYPE_CHECKING

import numpy as np

from specctl.config import StftConfig, Window

if TYPE_CHECKING:
    from torch import Tensor

_COSINE_TERMS: dict[Window, tuple[float, ...]] = {
    "hann": (0.5, -0.5),
    "hamming": (0.54, -0.46),
    "blackman": (0.42, -0.5, 0.08),
    "boxcar": (1.0,),
}


def taper(config: StftConfig) -> np.ndarray:
    """Periodic window of ``win_length``, zero-padded on both sides to ``n_fft``.

    Returns
    -------
    ndarray, shape (n_fft,), float64
        What ``librosa.filters.get_window(fftbins=True)`` gives, centred as librosa does.
    """
    angle = np.arange(config.win_length) * (2 * math.pi / config.win_length)
    # a single sample is not tapered, which would silence it
    terms = _COSINE_TERMS[config.window] if config.win_length > 1 else (1.0,)
    values = np.zeros(config.n_fft)
    start = (config.n_fft - config.win_length) // 2
    for order, weight in enumerate(terms):
        values[start : start + config.win_length] += weight * np.cos(order * angle)
    return values


def window(config: StftConfig) -> "Tensor":
    """`taper` as a tensor."""
    import torch

    return torch.from_numpy(taper(config))
