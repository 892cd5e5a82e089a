import librosa
import numpy as np
import pytest
import torch

from specctl.dsp.pcen import default_smoothing, pcen, smoothed, smoothed_followed
from tests.dsp.signals import noise, speech_like

# float32 against float64 over sums of a few hundred frames, relative to the largest value
TOLERANCE = 2e-6

either_form = pytest.mark.parametrize("smooth", [smoothed, smoothed_followed])


def band(value, n_bands):
    return torch.full((n_bands,), value)


def power_of(n_frames, n_bands=5, seed=0):
    return noise(1, n_bands, n_frames, seed=seed).square() * 100


def recursion(spec, smoothing, mean):
    """The definition, frame by frame."""
    means = []
    for frame in spec.unbind(-1):
        mean = (1 - smoothing) * mean + smoothing * frame
        means.append(mean)
    return torch.stack(means, -1)


@either_form
@pytest.mark.parametrize("n_frames", [1, 2, 63, 64, 65, 128, 301])
def test_smoothing_is_the_recursion(smooth, n_frames):
    spec = power_of(n_frames).double()
    smoothing = torch.tensor([0.001, 0.025, 0.2, 0.5, 0.999], dtype=torch.float64)
    wanted = recursion(spec, smoothing, spec[..., 0])
    torch.testing.assert_close(smooth(spec, smoothing), wanted, rtol=1e-12, atol=0)


@either_form
@pytest.mark.parametrize("cut", [1, 63, 64, 100])
def test_a_later_stretch_goes_on_where_the_earlier_ended(smooth, cut):
    spec = power_of(150).double()
    smoothing = band(0.03, 5).double()
    whole = smooth(spec, smoothing)
    first = smooth(spec[..., :cut], smoothing)
    second = smooth(spec[..., cut:], smoothing, first[..., -1])
    torch.testing.assert_close(torch.cat([first, second], -1), whole, rtol=1e-12, atol=0)


def test_an_item_is_smoothed_alone():
    spec = torch.cat([power_of(100, seed=seed) for seed in range(3)])
    together = smoothed(spec, band(0.03, 5))
    assert torch.equal(together[1], smoothed(spec[1:2], band(0.03, 5))[0])


@pytest.mark.parametrize("value", [torch.nan, torch.inf], ids=str)
def test_a_bad_frame_spoils_none_before_it(value):
    spec = power_of(100)
    wanted = smoothed(spec, band(0.03, 5))
    spec[..., 80] = value
    found = smoothed(spec, band(0.03, 5))
    assert torch.equal(found[..., :80], wanted[..., :80])
    assert not found[..., 80:].isfinite().any()


@either_form
@pytest.mark.parametrize("quietest", [0.0, 0.1])
def test_gradients_are_true_derivatives(smooth, quietest):
    spec = power_of(70, n_bands=2).double() + 0.1
    spec[..., 5:20] = quietest
    spec.requires_grad_()
    smoothing = torch.tensor([0.03, 0.4], dtype=torch.float64, requires_grad=True)
    before = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    # half a step beside silence is below 0, which no power is
    inputs = (spec, smoothing, before) if quietest else (spec.detach(), smoothing, before)
    assert torch.autograd.gradcheck(smooth, inputs)


def test_gradients_in_silence_are_those_of_both_forms():
    gradients = []
    for smooth in (smoothed, smoothed_followed):
        spec = torch.zeros(1, 2, 300, requires_grad=True)
        smooth(spec, torch.tensor([0.03, 0.4])).sum().backward()
        gradients.append(spec.grad)
    torch.testing.assert_close(*gradients)


def test_a_graph_of_minutes_is_as_exact_as_one_of_seconds():
    spec = power_of(50_000, n_bands=3)
    smoothing = torch.tensor([1e-4, 0.03, 0.999])
    wanted = recursion(spec.double(), smoothing.double(), spec[..., 0].double())
    torch.testing.assert_close(
        smoothed_followed(spec, smoothing), wanted.float(), rtol=3e-7, atol=0
    )


@pytest.mark.parametrize("hop_length", [100, 256, 512])
@pytest.mark.parametrize("time_constant", [0.06, 0.4])
@pytest.mark.parametrize(("gain", "bias", "power"), [(0.98, 2.0, 0.5), (0.6, 10.0, 0.25)])
def test_equals_librosa(hop_length, time_constant, gain, bias, power):
    waveform = speech_like(22050, 44100)
    mel = librosa.feature.melspectrogram(y=waveform, n_fft=1024, hop_length=hop_length, n_mels=40)
    smoothing = default_smoothing(22050, hop_length, time_constant)
    wanted = librosa.pcen(
        mel.astype(np.float64),
        sr=22050,
        hop_length=hop_length,
        gain=gain,
        bias=bias,
        power=power,
        time_constant=time_constant,
        zi=(1 - smoothing) * mel[:, :1].astype(np.float64),
    )
    spec = torch.from_numpy(mel)[None]
    got = pcen(
        spec,
        smoothed(spec, band(smoothing, 40)),
        gain=band(gain, 40),
        bias=band(bias, 40),
        power=band(power, 40),
        eps=1e-6,
    )
    off = np.abs(got[0].numpy() - wanted).max()
    assert off <= TOLERANCE * np.abs(wanted).max()


def test_silence_gives_silence():
    spec = torch.zeros(1, 3, 200)
    got = pcen(
        spec,
        smoothed(spec, band(0.03, 3)),
        gain=band(0.98, 3),
        bias=band(2.0, 3),
        power=band(0.5, 3),
        eps=1e-6,
    )
    assert (got == 0).all()
