"""The truth that kernels are tested against: slow, plain, float64 from end to end."""

import torch
from torch import Tensor

from specctl.config import SpectrogramConfig
from specctl.dsp.basis import unwindowed_basis
from specctl.dsp.decibel import LogScale, peaks
from specctl.dsp.mel import dct_matrix, mel_filterbank
from specctl.dsp.padding import pad_waveform
from specctl.dsp.windows import window


def reference_spectrogram(waveform: Tensor, config: SpectrogramConfig) -> Tensor:
    """The whole chain of ``config`` by matrix products in float64.

    Parameters
    ----------
    waveform : Tensor, shape (..., samples)

    Returns
    -------
    Tensor, shape (..., freq, time), float64 or complex128
    """
    padded = pad_waveform(waveform.double(), config.padding, config.padding, config.pad_mode)
    frames = padded.unfold(-1, config.n_fft, config.hop_length) * window(config)
    parts = frames @ unwindowed_basis(config).T
    spectrum = torch.complex(parts[..., : config.n_freqs], parts[..., config.n_freqs :])
    spectrum = spectrum.transpose(-1, -2)
    if config.power is None:
        return spectrum
    spec = spectrum.abs() ** config.power
    if config.n_mels is not None:
        # the bands are part of the definition, float32 as everybody keeps them
        spec = mel_filterbank(config).double() @ spec
    scale = LogScale.from_config(config)
    if scale is not None:
        spec = scale.apply(spec)
        spec = scale.finish(spec, peaks(spec)) if scale.needs_peak else spec
    return dct_matrix(config).double() @ spec if config.n_mfcc is not None else spec
