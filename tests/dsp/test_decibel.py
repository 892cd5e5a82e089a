import math

import librosa
import numpy as np
import pytest
import torch

from specctl.config import SpectrogramConfig
from specctl.dsp.decibel import LogScale, peaks, power_to_db
from tests.dsp.signals import noise

# a logarithm in float32, times ten, near 100
DECIBEL_ROUNDING = 2e-5

power = noise(3, 5, 7).square() * torch.tensor([1.0, 100.0, 1e-6])[:, None, None]


@pytest.mark.parametrize("ref", [1.0, 0.01, 1e-12, "max"])
@pytest.mark.parametrize("top_db", [None, 10.0, 80.0])
@pytest.mark.parametrize("amin", [1e-10, 1e-4])
def test_equals_librosa_item_by_item(ref, top_db, amin):
    got = power_to_db(power, ref=ref, amin=amin, top_db=top_db)
    for item, values in zip(power.double().numpy(), got, strict=True):
        expected = librosa.power_to_db(
            item, ref=np.max if ref == "max" else ref, amin=amin, top_db=top_db
        )
        np.testing.assert_allclose(values.numpy(), expected, rtol=0, atol=DECIBEL_ROUNDING)


def test_top_db_clips_each_item_at_its_own_peak():
    spec = torch.tensor([[[1.0, 1e-6]], [[1e-8, 1e-10]]])
    got = power_to_db(spec, top_db=30.0)
    assert got.flatten().tolist() == pytest.approx([0, -30, -80, -100], abs=DECIBEL_ROUNDING)


def test_max_is_the_peak_of_each_item():
    got = power_to_db(power, ref="max")
    assert (peaks(got) == 0).all()
    for item, values in zip(power, got, strict=True):
        assert torch.equal(power_to_db(item, ref="max"), values)


def test_digital_silence_against_its_peak_is_zero():
    assert (power_to_db(torch.zeros(2, 3, 4), ref="max", top_db=80.0) == 0).all()


def test_gradient_is_that_of_the_logarithm_and_zero_below_the_floor():
    spec = torch.tensor([[2.0, 1e-12]], requires_grad=True)
    power_to_db(spec).sum().backward()
    assert spec.grad[0, 0] == pytest.approx(10 / math.log(10) / 2)
    assert spec.grad[0, 1] == 0


def test_leaves_what_it_is_given_as_it_was():
    before = power.clone()
    power_to_db(power, ref="max", top_db=20.0)
    assert torch.equal(power, before)


@pytest.mark.parametrize(
    ("settings", "one_tenth"),
    [
        ({"feature": "power", "scale": "db"}, -10),
        ({"feature": "magnitude", "scale": "db"}, -20),
        ({"feature": "mel", "power": 1.0, "scale": "db"}, -20),
        ({"feature": "mel", "power": 3.0, "scale": "db"}, -20 / 3),
        ({"feature": "mel", "scale": "ln"}, -math.log(10)),
        ({"feature": "mel", "scale": "log10"}, -1),
    ],
)
def test_a_tenth_counts_as_the_unit_of_the_scale_says(settings, one_tenth):
    scale = LogScale.from_config(SpectrogramConfig.resolve(**settings))
    got = scale.apply(torch.tensor([0.1]))
    assert got.item() == pytest.approx(one_tenth, rel=1e-6)


@pytest.mark.parametrize("scale_name", ["db", "ln", "log10"])
@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_top_db_counts_decibels_whatever_the_scale(scale_name, exponent):
    config = SpectrogramConfig.resolve(power=exponent, scale=scale_name, top_db=40.0)
    scale = LogScale.from_config(config)
    # 60 dB apart: six decades of power
    logs = scale.apply(torch.tensor([[1.0, 10 ** (-3 * exponent)]]))
    clipped = scale.finish(logs, peaks(logs))
    # 40 dB are two thirds of it
    assert (clipped[0, 0] - clipped[0, 1]).item() == pytest.approx(
        (logs[0, 0] - logs[0, 1]).item() * 2 / 3, rel=1e-5
    )


def test_a_linear_scale_has_no_logarithm():
    assert LogScale.from_config(SpectrogramConfig.resolve(scale="none")) is None
