"""Rows of a basis at any frequencies, and mel bands over them.

Frequencies are counted in bins, turns per ``n_fft`` samples: the Fourier basis has rows at 0, 1, 2
and so on, and one unit is the resolution of the transform whatever the sample rate.
"""

import math

import numpy as np
import torch
from torch import Tensor

from specctl.config import MelScale, SpectrogramConfig, StftConfig
from specctl.dsp.mel import hz_to_mel, mel_edges, mel_to_hz


def rows_at(frequencies: Tensor, n_fft: int) -> Tensor:
    """Cosines and negative sines, before the window; differentiable in the frequencies.

    Parameters
    ----------
    frequencies : Tensor, shape (n_freqs,)
        In bins.

    Returns
    -------
    Tensor, shape (2 * n_freqs, n_fft)
        As `specctl.dsp.basis.unwindowed_basis` where the frequencies are whole numbers.
    """
    at = torch.arange(n_fft, device=frequencies.device)
    whole = frequencies.detach().round()
    # whole turns are taken away as integers, so that angles stay within half a turn and exact
    turns = (torch.outer(whole.to(torch.int64), at) + n_fft // 2) % n_fft - n_fft // 2
    rest = torch.outer(frequencies - whole, at.to(frequencies.dtype))
    angle = (turns + rest) * (2 * math.pi / n_fft)
    return torch.cat([angle.cos(), -angle.sin()])


def mel_spaced_frequencies(config: StftConfig, mel_scale: MelScale = "slaney") -> np.ndarray:
    """``n_freqs`` frequencies from 0 to half the sample rate, even on the mel scale.

    Returns
    -------
    ndarray, shape (n_freqs,), float64, in bins
    """
    first, last = hz_to_mel(np.array([0.0, config.sample_rate / 2]), mel_scale)
    hz = mel_to_hz(np.linspace(first, last, config.n_freqs), mel_scale)
    return hz * (config.n_fft / config.sample_rate)


def bands_over(config: SpectrogramConfig, frequencies: np.ndarray) -> np.ndarray:
    """Mel bands over rows that are not evenly spaced.

    Parameters
    ----------
    frequencies : ndarray, shape (n_freqs,)
        In bins, rising.

    Returns
    -------
    ndarray, shape (n_mels, n_freqs), float32

    Notes
    -----
    Each row counts with the width it stands for, in bins: where rows lie closer, each has less
    weight, and a band holds as much power as over the Fourier basis.
    """
    edges = mel_edges(config)
    slopes = edges[:, None] - frequencies * (config.sample_rate / config.n_fft)
    widths = np.diff(edges)[:, None]
    bands = np.maximum(np.minimum(-slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]), 0.0)
    if config.mel_norm == "slaney":
        bands *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return np.asarray(bands * np.gradient(frequencies), dtype=np.float32)
