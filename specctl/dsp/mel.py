"""Mel bands and cepstral coefficients."""

import math

import torch
from torch import Tensor

from specctl.config import MelScale, SpectrogramConfig

# Slaney's scale: linear below 1 kHz at 200/3 Hz a mel, 27 mels for each factor of 6.4 above
_LINEAR_STEP = 200.0 / 3
_BREAK_HZ = 1000.0
_LOG_STEP = math.log(6.4) / 27


def hz_to_mel(hz: Tensor, scale: MelScale) -> Tensor:
    """Frequencies in Hz to mels, element by element."""
    if scale == "htk":
        return 2595.0 * torch.log10(1.0 + hz / 700.0)
    above = _BREAK_HZ / _LINEAR_STEP + torch.log(hz.clamp_min(_BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return torch.where(hz < _BREAK_HZ, hz / _LINEAR_STEP, above)


def mel_to_hz(mel: Tensor, scale: MelScale) -> Tensor:
    """Mels to frequencies in Hz, element by element."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    break_mel = _BREAK_HZ / _LINEAR_STEP
    above = _BREAK_HZ * torch.exp(_LOG_STEP * (mel - break_mel))
    return torch.where(mel < break_mel, mel * _LINEAR_STEP, above)


def mel_edges(config: SpectrogramConfig) -> Tensor:
    """Edges of the bands in Hz, shape (n_mels + 2,), float64; band i peaks at edge i + 1."""
    n_mels, fmin, fmax, scale = _bands(config)
    ends = hz_to_mel(torch.tensor([fmin, fmax], dtype=torch.float64), scale)
    # numpy's linspace, so that the edges are librosa's to the last bit
    step = (ends[1] - ends[0]) / (n_mels + 1)
    mels = torch.arange(n_mels + 2, dtype=torch.float64) * step + ends[0]
    mels[-1] = ends[1]
    return mel_to_hz(mels, scale)


def mel_filterbank(config: SpectrogramConfig) -> Tensor:
    """Triangular bands over the bins of the spectrum.

    Returns
    -------
    Tensor, shape (n_mels, n_freqs), float32
        ``librosa.filters.mel`` with the same settings: each band rises from the centre of its
        neighbour below and falls to that above; with ``mel_norm="slaney"`` each has area 1 in Hz.
    """
    edges = mel_edges(config)
    bins = torch.arange(config.n_freqs, dtype=torch.float64) * (config.sample_rate / config.n_fft)
    widths = edges.diff()
    slopes = edges[:, None] - bins
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    bands = torch.minimum(rising, falling).clamp_min(0.0)
    if config.mel_norm == "slaney":
        bands *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return bands.to(torch.float32)


def dct_matrix(config: SpectrogramConfig) -> Tensor:
    """Orthonormal DCT-II with the liftering of librosa folded in.

    Returns
    -------
    Tensor, shape (n_mfcc, n_mels), float32
        ``dct_matrix(config) @ log_mel`` is what ``librosa.feature.mfcc`` gives.
    """
    n_mels, n_mfcc = config.n_mels or 0, config.n_mfcc or 0
    order = torch.arange(n_mfcc, dtype=torch.float64)[:, None]
    band = torch.arange(n_mels, dtype=torch.float64) + 0.5
    rows = torch.cos(math.pi / n_mels * order * band) * math.sqrt(2.0 / n_mels)
    rows[0] /= math.sqrt(2.0)
    if config.lifter:
        turns = math.pi * torch.arange(1, 1 + n_mfcc, dtype=torch.float64) / config.lifter
        rows *= (1 + config.lifter / 2 * torch.sin(turns))[:, None]
    return rows.to(torch.float32)


def centre_frequencies(config: SpectrogramConfig) -> Tensor:
    """Centre of each row of the result in Hz, shape (n_bins,), float64.

    Cepstral coefficients have no frequency; their number stands there instead.
    """
    if config.feature == "mfcc":
        return torch.arange(config.n_bins, dtype=torch.float64)
    if config.feature == "mel":
        return mel_edges(config)[1:-1]
    return torch.arange(config.n_freqs, dtype=torch.float64) * (config.sample_rate / config.n_fft)


def _bands(config: SpectrogramConfig) -> tuple[int, float, float, MelScale]:
    return config.n_mels or 0, config.fmin or 0.0, config.fmax or 0.0, config.mel_scale or "slaney"
