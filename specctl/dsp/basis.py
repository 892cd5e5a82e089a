"""The Fourier basis: the short-time Fourier transform written as a matrix of rows."""

import math

import torch
from torch import Tensor

from specctl.config import StftConfig
from specctl.dsp.windows import window


def fourier_basis(config: StftConfig) -> Tensor:
    """Windowed Fourier vectors, one row for each real and imaginary part.

    Returns
    -------
    Tensor, shape (2 * n_freqs, n_fft), float32
        Real parts (cosines) in the first half, imaginary parts (negative sines) in the second.

    Notes
    -----
    Built in float64 and rounded once: built in float32, the top bins are off by 4e-4
    at ``n_fft=2048``.
    """
    return (unwindowed_basis(config) * window(config)).to(torch.float32)


def unwindowed_basis(config: StftConfig) -> Tensor:
    """The rows of `fourier_basis` before the taper, shape (2 * n_freqs, n_fft), float64."""
    # (freq, n_fft); the product is reduced mod n_fft to keep the angle small
    turns = torch.outer(torch.arange(config.n_freqs), torch.arange(config.n_fft)) % config.n_fft
    angle = turns.to(torch.float64) * (2 * math.pi / config.n_fft)
    return torch.cat([angle.cos(), -angle.sin()])
