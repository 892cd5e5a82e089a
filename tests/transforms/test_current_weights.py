"""Results follow the weights as they are now, however they were written."""

import copy
import weakref

import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from specctl.transforms import MelSpectrogram
from tests.dsp.signals import noise

MEL = {"sample_rate": 8000, "n_fft": 64, "hop_length": 20, "n_mels": 12, "scale": "none"}
# sums of 64 products in another order
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def through_data(weight):
    weight.data.mul_(2)


def through_numpy(weight):
    weight.detach().numpy()[...] *= 2


def through_a_vector(weight):
    vector_to_parameters(2 * parameters_to_vector([weight]), [weight])


def in_inference_mode(weight):
    with torch.inference_mode():
        weight.mul_(2)


def in_place(weight):
    with torch.no_grad():
        weight.mul_(2)


every_write = pytest.mark.parametrize(
    "write", [through_data, through_numpy, through_a_vector, in_inference_mode, in_place]
)


@every_write
@pytest.mark.parametrize("kernel", ["fft", "conv"])
@pytest.mark.parametrize(
    ("name", "trainable", "times"),
    [("mel", (), 2), ("mel", ("mel",), 2), ("window", ("window",), 4)],
)
def test_a_weight_that_was_written_changes_what_comes_out(kernel, name, trainable, times, write):
    transform = MelSpectrogram(**MEL, kernel=kernel, trainable=trainable)
    waveform = noise(2, 500)
    with torch.no_grad():
        before = transform(waveform)
    write(getattr(transform, name))
    with torch.no_grad():
        torch.testing.assert_close(transform(waveform), times * before, **CLOSE)


@every_write
@pytest.mark.parametrize("name", ["window", "mel"])
def test_weights_made_in_inference_mode_are_followed_too(name, write):
    with torch.inference_mode():
        transform = MelSpectrogram(**MEL, kernel="fft")
        before = transform(noise(500))
        write(getattr(transform, name))
        times = 2 if name == "mel" else 4
        torch.testing.assert_close(transform(noise(500)), times * before, **CLOSE)


@pytest.mark.parametrize("kernel", ["fft", "conv"])
@pytest.mark.parametrize("name", ["window", "mel"])
def test_training_by_a_fused_optimiser_is_seen_without_gradients(kernel, name):
    transform = MelSpectrogram(**MEL, kernel=kernel, trainable=(name,))
    waveform = noise(2, 500)
    optimiser = torch.optim.AdamW(transform.parameters(), lr=0.01, fused=True)
    for _ in range(3):
        with torch.no_grad():
            without = transform(waveform)
        optimiser.zero_grad()
        spec = transform(waveform)
        torch.testing.assert_close(spec.detach(), without, **CLOSE)
        spec.mean().backward()
        optimiser.step()


def test_a_trained_basis_reaches_through_bands_that_were_written():
    transform = MelSpectrogram(**MEL, trainable=("basis",))
    waveform = noise(2, 500)
    gradients = []
    for _ in range(2):
        transform.zero_grad()
        transform(waveform).sum().backward()
        gradients.append(transform.basis.grad.clone())
        transform.mel.data.mul_(2)
    torch.testing.assert_close(gradients[1], 2 * gradients[0], **CLOSE)


@pytest.mark.parametrize("kernel", ["fft", "conv"])
def test_a_bin_that_no_band_had_can_be_given_to_one(kernel):
    transform = MelSpectrogram(**MEL, kernel=kernel, fmin=1000.0)
    waveform = noise(500)
    before = transform(waveform)
    transform.mel.data[3, 2] = 1.0
    after = transform(waveform)
    assert (after[3] > before[3]).all()
    assert torch.equal(after[4:], before[4:])


@pytest.mark.parametrize("with_gradients", [True, False])
def test_bands_that_are_computed_are_let_go(with_gradients):
    transform, waveform = MelSpectrogram(**MEL), noise(2, 400)
    own = transform(waveform)
    mel = torch.nn.Linear(3, 12 * 33)(torch.ones(3)).view(12, 33).abs()
    computed = weakref.ref(mel)
    with torch.set_grad_enabled(with_gradients):
        spec = torch.func.functional_call(transform, {"mel": mel}, (waveform,))
    assert spec.requires_grad == with_gradients
    del mel, spec
    assert computed() is None
    assert torch.equal(copy.deepcopy(transform)(waveform), own)
