import math

import pytest
import torch

from specctl.bench.accuracy import (
    MEL_CONTRACT_DB,
    Reference,
    breach,
    db_errors,
    gradient_errors,
    greatest_error,
    reference_gradient,
)
from specctl.bench.audio import clips
from specctl.bench.workload import Workload
from specctl.config import SpectrogramConfig
from specctl.dsp.decibel import LogScale
from specctl.dsp.reference import reference_spectrogram
from specctl.transforms import MelSpectrogram

MEL = SpectrogramConfig.resolve(n_fft=64, n_mels=3, sample_rate=8000)
COMPLEX = SpectrogramConfig.resolve(feature="complex", n_fft=64, sample_rate=8000)
MAGNITUDE = SpectrogramConfig.resolve(feature="magnitude", n_fft=64, sample_rate=8000)


def test_errors_are_sorted_by_level_below_the_peak():
    reference = torch.tensor([[30.0, 5.0, -20.0, -45.0, -69.0, -100.0]], dtype=torch.float64)
    off = torch.tensor([[1e-6, 1e-5, 1e-4, -1e-3, 1e-2, 1.0]], dtype=torch.float64)
    errors = db_errors(reference + off, reference, MEL)
    assert errors == pytest.approx(
        {
            "0 to -20 dB": 1e-6,
            "-20 to -40 dB": 1e-5,
            "-40 to -60 dB": 1e-4,
            "-60 to -80 dB": 1e-3,
            "-80 to -100 dB": 1e-2,
        }
    )
    assert greatest_error(errors) == pytest.approx(1e-3)


def test_a_magnitude_that_is_a_tenth_too_large_is_off_by_its_decibels():
    reference = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    errors = db_errors((reference * 1.1).float(), reference, MAGNITUDE)
    assert errors["0 to -20 dB"] == pytest.approx(20 * math.log10(1.1), rel=1e-5)


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("scale", ["db", "log10", "ln"])
def test_a_logarithm_is_told_in_decibels_whatever_its_scale(scale, power):
    config = SpectrogramConfig.resolve(
        n_fft=64, n_mels=3, sample_rate=8000, power=power, scale=scale
    )
    values = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    logarithm = LogScale.from_config(config)
    errors = db_errors(logarithm.apply(values * 1.1), logarithm.apply(values), config)
    wanted = 20 / power * math.log10(1.1)
    assert errors == {"0 to -20 dB": pytest.approx(wanted)}
    assert breach(errors, config) is not None


def test_a_wrong_phase_is_an_error_of_a_complex_value():
    reference = torch.tensor([[1.0 + 0j]], dtype=torch.complex128)
    errors = db_errors(reference * 1j, reference, COMPLEX)
    # the distance of 1 and i is the square root of 2
    assert errors["0 to -20 dB"] == pytest.approx(20 * math.log10(1 + math.sqrt(2)))


@pytest.mark.parametrize(
    ("config", "name", "off", "is_broken"),
    [
        (MAGNITUDE, "0 to -20 dB", 0.0099, False),
        (MAGNITUDE, "-60 to -80 dB", 0.0101, True),
        (MAGNITUDE, "-80 to -100 dB", 5.0, False),
        (MEL, "-20 to -40 dB", MEL_CONTRACT_DB * 1.01, True),
        (MEL, "-20 to -40 dB", MEL_CONTRACT_DB * 0.99, False),
        (MEL, "-40 to -60 dB", 0.0099, False),
        (MEL, "0 to -20 dB", math.nan, True),
    ],
)
def test_the_contract_by_level(config, name, off, is_broken):
    problem = breach({name: off}, config)
    assert (problem is not None) == is_broken
    if is_broken:
        assert name in problem


def test_a_relative_power_error_of_the_contract_is_its_decibels():
    assert pytest.approx(10 * math.log10(1 + 1e-4), rel=1e-3) == MEL_CONTRACT_DB


def test_the_reference_of_a_long_clip_is_its_beginning(monkeypatch):
    waveform = torch.randn(6000, generator=torch.Generator().manual_seed(0))
    whole = reference_spectrogram(waveform, MEL)
    monkeypatch.setattr("specctl.bench.accuracy._MOST_OPERATIONS", 4 * 64 * 33 * 100)
    part = Reference(waveform).spectrogram(MEL)
    assert 90 < part.shape[-1] < 100
    torch.testing.assert_close(part, whole[:, : part.shape[-1]], rtol=0, atol=1e-9)


def test_the_gradient_is_that_of_the_transform_in_float64():
    workload = Workload("train", "log-mel", 8000, 64, 16, 8, 2, 0.25, "cpu", 1)
    waveform, config = clips(workload), workload.config()
    transform = MelSpectrogram.from_config(config, kernel="conv", trainable=("basis",)).double()
    transform(waveform.double()).mean().backward()
    error, cosine = gradient_errors(transform.basis.grad, reference_gradient(waveform, config))
    # the basis is rounded to float32 in both, all else is float64
    assert error < 1e-9
    assert cosine == pytest.approx(1.0)


def test_an_opposite_gradient_is_off_by_twice_itself():
    gradient = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    assert gradient_errors(-gradient, gradient) == pytest.approx((2.0, -1.0))
