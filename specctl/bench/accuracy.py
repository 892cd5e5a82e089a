"""Whether the numbers are right: error against float64, by level, and the contract."""

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from specctl.config import SpectrogramConfig
from specctl.dsp.basis import fourier_basis
from specctl.dsp.decibel import LogScale
from specctl.dsp.mel import mel_filterbank
from specctl.dsp.padding import pad_waveform
from specctl.dsp.reference import reference_spectrogram
from specctl.errors import ParameterError

LEVELS_DB = (0, 20, 40, 60, 80, 100)
"""Edges of the level bands, in dB below the loudest value of the clip."""

CONTRACT_DB = 0.01
"""Most that a value may be off down to -80 dB."""

MEL_CONTRACT_DB = 4.34e-4
"""Most that a mel band may be off down to -40 dB: a power off by 1e-4 of itself."""

_CONTRACT_TO = -80
_MEL_CONTRACT_TO = -40
_MOST_OPERATIONS = 4e10
"""Of the float64 reference, 2 to 4 seconds of one core; of longer clips the beginning is held."""


def level_name(upper: int, lower: int) -> str:
    """What the band between two edges is called."""
    return f"{-upper} to {-lower} dB"


LEVEL_NAMES = tuple(level_name(*edges) for edges in pairwise(LEVELS_DB))


class Reference:
    """The float64 truth of one clip for every definition that contenders have.

    Parameters
    ----------
    waveform : Tensor, shape (samples,)
        Of a long clip only the beginning is used.
    """

    def __init__(self, waveform: Tensor) -> None:
        self._waveform = waveform
        self._known: dict[str, Tensor] = {}

    def spectrogram(self, definition: SpectrogramConfig) -> Tensor:
        """Frames that see nothing of what was cut off, (freq, time), float64 or complex128."""
        key = definition.fingerprint()
        if key not in self._known:
            self._known[key] = self._computed(definition)
        return self._known[key]

    def _computed(self, definition: SpectrogramConfig) -> Tensor:
        n_samples = len(self._waveform)
        per_frame = 4 * definition.n_fft * definition.n_freqs
        most = int(_MOST_OPERATIONS / per_frame) * definition.hop_length
        if n_samples <= most:
            return reference_spectrogram(self._waveform, definition)
        cut = reference_spectrogram(self._waveform[: max(most, definition.n_fft)], definition)
        touched = 1 + definition.padding // definition.hop_length
        return cut[:, : cut.shape[-1] - touched]


def db_errors(
    values: Tensor, reference: Tensor, definition: SpectrogramConfig
) -> dict[str, float]:
    """Greatest difference in decibels within each level band.

    Parameters
    ----------
    values, reference : Tensor, shape (freq, time)
        Complex, magnitudes, powers or logarithms, as ``definition`` says.

    Returns
    -------
    dict
        Band (see `LEVEL_NAMES`) to dB; bands that hold no value are left out. For complex values
        the error is that of a magnitude which is off by the distance of the two.
    """
    truth = _decibels(reference, definition)
    if reference.is_complex():
        distance = (values.to(torch.complex128) - reference).abs() / reference.abs()
        off = 20.0 * torch.log10(1.0 + distance)
    else:
        off = (_decibels(values.double(), definition) - truth).abs()
    below = truth.max() - truth
    errors = {}
    for upper, lower in pairwise(LEVELS_DB):
        here = (below >= upper) & (below < lower)
        if here.any():
            errors[level_name(upper, lower)] = float(off[here].max())
    return errors


def _decibels(values: Tensor, definition: SpectrogramConfig) -> Tensor:
    if definition.scale == "none":
        power = definition.power or 1.0
        return (20.0 / power) * torch.log10(values.abs().clamp_min(1e-30))
    per_decade = 20.0 / (definition.power or 2.0)
    units = {"db": 1.0, "log10": per_decade, "ln": per_decade / math.log(10.0)}
    return values * units[definition.scale]


def greatest_error(errors: Mapping[str, float]) -> float | None:
    """Greatest error down to -80 dB; ``None`` where nothing was compared."""
    held = [off for name, off in errors.items() if _lower_edge(name) >= _CONTRACT_TO]
    return max(held, default=None)


def breach(errors: Mapping[str, float], definition: SpectrogramConfig) -> str | None:
    """How ``errors`` break the contract, or ``None``."""
    for name, off in errors.items():
        lower = _lower_edge(name)
        is_mel = definition.n_mels is not None and lower >= _MEL_CONTRACT_TO
        allowed = MEL_CONTRACT_DB if is_mel else CONTRACT_DB
        if lower >= _CONTRACT_TO and not off <= allowed:
            return f"{off:.2g} dB off at {name}, {allowed:g} allowed"
    return None


def _lower_edge(name: str) -> int:
    return int(name.split()[2])


def gradient_errors(gradient: Tensor, reference: Tensor) -> tuple[float, float]:
    """Relative error and cosine of a basis gradient against the float64 one."""
    gradient, reference = gradient.double().cpu().flatten(), reference.flatten()
    error = float((gradient - reference).norm() / reference.norm())
    return error, float(torch.nn.functional.cosine_similarity(gradient, reference, dim=0))


def reference_gradient(waveform: Tensor, definition: SpectrogramConfig) -> Tensor:
    """Gradient of the mean log-mel in the basis, float64, (2 * n_freqs, n_fft).

    Parameters
    ----------
    waveform : Tensor, shape (batch, samples)
    """
    scale = LogScale.from_config(definition)
    if scale is None:
        raise ParameterError(f"scale must be logarithmic to train, got {definition.scale!r}")
    basis = fourier_basis(definition).double().requires_grad_()
    around = definition.padding
    padded = pad_waveform(waveform.double(), around, around, definition.pad_mode)
    with torch.enable_grad():
        frames = padded.unfold(-1, definition.n_fft, definition.hop_length)
        real, imaginary = (frames @ basis.T).tensor_split(2, dim=-1)
        mel = (real.square() + imaginary.square()) @ mel_filterbank(definition).double().T
        (gradient,) = torch.autograd.grad(scale.apply(mel).mean(), basis)
    return gradient
