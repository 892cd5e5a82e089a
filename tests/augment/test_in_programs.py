"""Augmentations in programs that compile, that compute in 16 bits, that have another device."""

import numpy as np
import pytest
import torch

from specctl import augment
from specctl.errors import ParameterError
from tests.dsp.signals import noise

WAVEFORMS, SPECTROGRAMS = noise(4, 3000), noise(4, 20, 50)
CHANGES = {
    "gain": (lambda: augment.Gain(p=1.0), WAVEFORMS),
    "noise": (lambda: augment.GaussianNoise(p=1.0), WAVEFORMS),
    "shift": (lambda: augment.Shift(sample_rate=16000, p=1.0), WAVEFORMS),
    "pitch": (lambda: augment.PitchShift(p=1.0), WAVEFORMS),
    "stretch": (lambda: augment.TimeStretch(p=1.0), WAVEFORMS),
    "frequency": (lambda: augment.FrequencyMasking(8), SPECTROGRAMS),
    "time": (lambda: augment.TimeMasking(8), SPECTROGRAMS),
    # in bfloat16, a quarter of 4100 frames is 1024
    "a quarter of the time": (lambda: augment.TimeMasking(4100, p=0.25), noise(4, 2, 4100)),
    "specaugment": (augment.SpecAugment, SPECTROGRAMS),
    "several": (
        lambda: augment.Compose([augment.Gain(p=0.5), augment.PitchShift(p=0.5)]),
        WAVEFORMS,
    ),
}


@pytest.fixture(params=CHANGES)
def made(request):
    make, batch = CHANGES[request.param]
    return make(), batch


@pytest.fixture(autouse=True)
def fresh_compiler():
    yield
    torch.compiler.reset()


def seeded():
    return torch.Generator().manual_seed(3)


def test_compiled_they_do_what_they_did(made):
    change, batch = made
    found = torch.compile(change, backend="eager")(batch, generator=seeded())
    assert torch.equal(found, change(batch, generator=seeded()))
    assert not torch.equal(found, batch)


def test_another_default_device_is_not_that_of_the_batch(made):
    change, batch = made
    wanted = change(batch, generator=seeded())
    with torch.device("meta"):
        found = change(batch, generator=seeded())
    assert torch.equal(found, wanted)


@pytest.fixture(params=[torch.bfloat16, torch.float64], ids=["bfloat16", "float64"])
def other_default(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", CHANGES)
def test_another_default_type_changes_nothing(name, other_default):
    make, batch = CHANGES[name]
    found = make()(batch, generator=seeded())
    torch.set_default_dtype(torch.float32)
    assert torch.equal(found, make()(batch, generator=seeded()))


def test_mixup_is_led_around_too():
    targets = torch.eye(4)
    mixup = augment.Mixup()
    wanted = mixup(WAVEFORMS, targets, generator=seeded())
    with torch.device("meta"):
        found = torch.compile(mixup, backend="eager")(WAVEFORMS, targets, generator=seeded())
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_go_in_and_come_out(made, dtype):
    change, batch = made
    found = change(batch.to(dtype), generator=seeded())
    assert found.dtype == dtype
    wanted = change(batch.to(dtype).float(), generator=seeded())
    step = torch.finfo(dtype).eps * wanted.abs().max()
    torch.testing.assert_close(found.float(), wanted, rtol=0, atol=4 * float(step))


def test_an_array_is_no_batch(made):
    change, batch = made
    with pytest.raises(ParameterError, match=r"batch must be a torch\.Tensor, got ndarray"):
        change(np.asarray(batch))
