"""Mel bands and cepstral coefficients."""

import math
from typing import TYPE_CHECKING

import numpy as np

from specctl.config import MelScale, SpectrogramConfig

if TYPE_CHECKING:
    from torch import Tensor

# Slaney's scale: linear below 1 kHz at 200/3 Hz a mel, 27 mels for each factor of 6.4 above
_LINEAR_STEP = 200.0 / 3
_BREAK_HZ = 1000.0
_LOG_STEP = math.log(6.4) / 27


def hz_to_mel(hz: np.ndarray, scale: MelScale) -> np.ndarray:
    """Frequencies in Hz to mels, element by element."""
    if scale == "htk":
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    above = _BREAK_HZ / _LINEAR_STEP + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _LINEAR_STEP, above)


def mel_to_hz(mel: np.ndarray, scale: MelScale) -> np.ndarray:
    """Mels to frequencies in Hz, element by element."""
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    break_mel = _BREAK_HZ / _LINEAR_STEP
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - break_mel))
    return np.where(mel < break_mel, mel * _LINEAR_STEP, above)


def mel_edges(config: SpectrogramConfig) -> np.ndarray:
    """Edges of the bands in Hz, shape (n_mels + 2,), float64; band i peaks at edge i + 1."""
    n_mels, fmin, fmax, scale = _bands(config)
    ends = hz_to_mel(np.array([fmin, fmax]), scale)
    return mel_to_hz(np.linspace(ends[0], ends[1], n_mels + 2), scale)


def mel_weights(config: SpectrogramConfig) -> np.ndarray:
    """Triangular bands over the bins of the spectrum.

    Returns
    -------
    ndarray, shape (n_mels, n_freqs), float32
        ``librosa.filters.mel`` with the same settings: each band rises from the centre of its
        neighbour below and falls to that above; with ``mel_norm="slaney"`` each has area 1 in Hz.
    """
    edges = mel_edges(config)
    bins = np.arange(config.n_freqs) * (config.sample_rate / config.n_fft)
    widths = np.diff(edges)
    slopes = edges[:, None] - bins
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    bands = np.maximum(np.minimum(rising, falling), 0.0)
    if config.mel_norm == "slaney":
        bands *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return np.asarray(bands, dtype=np.float32)


def mel_filterbank(config: SpectrogramConfig) -> "Tensor":
    """`mel_weights` as a tensor."""
    import torch

    return torch.from_numpy(mel_weights(config))


def dct_weights(config: SpectrogramConfig) -> np.ndarray:
    """Orthonormal DCT-II with the liftering of librosa folded in.

    Returns
    -------
    ndarray, shape (n_mfcc, n_mels), float32
        ``dct_weights(config) @ log_mel`` is what ``librosa.feature.mfcc`` gives.
    """
    n_mels, n_mfcc = config.n_mels or 0, config.n_mfcc or 0
    order = np.arange(n_mfcc)[:, None]
    band = np.arange(n_mels) + 0.5
    rows = np.cos(math.pi / n_mels * order * band) * math.sqrt(2.0 / n_mels)
    rows[0] /= math.sqrt(2.0)
    if config.lifter:
        turns = math.pi * np.arange(1, 1 + n_mfcc) / config.lifter
        rows *= (1 + config.lifter / 2 * np.sin(turns))[:, None]
    return rows.astype(np.float32)


def dct_matrix(config: SpectrogramConfig) -> "Tensor":
    """`dct_weights` as a tensor."""
    import torch

    return torch.from_numpy(dct_weights(config))


def centre_frequencies(config: SpectrogramConfig) -> np.ndarray:
    """Centre of each row of the result in Hz, shape (n_bins,), float64.

    Cepstral coefficients have no frequency; their number stands there instead.
    """
    if config.feature == "mfcc":
        return np.arange(config.n_bins, dtype=np.float64)
    if config.feature == "mel":
        return mel_edges(config)[1:-1]
    return np.arange(config.n_freqs) * (config.sample_rate / config.n_fft)


def _bands(config: SpectrogramConfig) -> tuple[int, float, float, MelScale]:
    return config.n_mels or 0, config.fmin or 0.0, config.fmax or 0.0, config.mel_scale or "slaney"
