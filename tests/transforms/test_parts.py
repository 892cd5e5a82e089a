"""What may be trained, where it starts, and that it trains."""

import copy
import pickle

import librosa
import numpy as np
import pytest
import torch

from specctl.dsp.basis import fourier_basis
from specctl.errors import ParameterError
from specctl.transforms import MFCC, MelSpectrogram, Spectrogram
from tests.dsp.signals import noise, speech_like

SMALL = {"sample_rate": 8000, "n_fft": 64, "hop_length": 20}
MEL = {**SMALL, "n_mels": 12}
PCEN = {**MEL, "scale": "pcen"}
# float32 in dB over sums of 64 products
DECIBEL_TOLERANCE = 1e-3


def step(transform, waveform, rate=0.1):
    """One step down the gradient of the energy, each weight by its own size."""
    transform.zero_grad()
    transform(waveform).square().mean().backward()
    with torch.no_grad():
        for weight in transform.parameters():
            size = rate * weight.abs().max() / weight.grad.abs().max()
            weight.sub_(size * weight.grad)


@pytest.mark.parametrize(
    ("kind", "settings", "trainable", "n_trained"),
    [
        (MelSpectrogram, MEL, (), 0),
        (MelSpectrogram, MEL, ("basis",), 2 * 33 * 64),
        (MelSpectrogram, MEL, ("window",), 64),
        (MelSpectrogram, MEL, ("frequencies",), 33),
        (MelSpectrogram, MEL, ("frequencies", "window", "mel"), 33 + 64 + 12 * 33),
        (MelSpectrogram, PCEN, ("pcen",), 4 * 12),
        (MFCC, {**MEL, "n_mfcc": 5}, ("mel", "basis"), 12 * 33 + 2 * 33 * 64),
        (Spectrogram, SMALL, ("frequencies",), 33),
    ],
)
def test_trains_as_many_numbers_as_it_says(kind, settings, trainable, n_trained):
    transform = kind(**settings, trainable=trainable)
    assert transform.n_trained == n_trained
    before = [weight.detach().clone() for weight in transform.parameters()]
    step(transform, noise(2, 700)) if trainable else None
    moved = [
        torch.equal(old, new) for old, new in zip(before, transform.parameters(), strict=True)
    ]
    assert not any(moved)
    assert len(moved) == len(trainable)


@pytest.mark.parametrize("init", ["fourier", "mel-fourier", "random"])
@pytest.mark.parametrize("trainable", [(), ("basis",), ("window",), ("frequencies",)])
def test_training_starts_from_the_same_numbers_whatever_is_trained(init, trainable):
    if (init, trainable) == ("random", ("frequencies",)):
        return
    waveform = noise(2, 700)
    fixed = MelSpectrogram(**MEL, init=init)(waveform)
    trained = MelSpectrogram(**MEL, init=init, trainable=trainable)(waveform)
    torch.testing.assert_close(trained.detach(), fixed, atol=DECIBEL_TOLERANCE, rtol=0)


@pytest.mark.parametrize("n_fft", [63, 64, 400, 2048])
def test_rows_at_whole_bins_are_the_fourier_basis(n_fft):
    transform = Spectrogram(n_fft=n_fft, trainable=("frequencies",))
    basis = torch.from_numpy(transform.to_basis().basis)
    # angles of up to pi, rounded to float32 twice
    assert (basis - fourier_basis(transform.config)).abs().max() <= 4.8e-7


def test_a_row_follows_its_frequency():
    transform = Spectrogram(
        sample_rate=8000, n_fft=256, hop_length=64, center=False, trainable=("frequencies",)
    )
    tone = torch.sin(torch.arange(2000) * (2 * torch.pi * 40.3 / 256))
    with torch.no_grad():
        before = transform(tone)[40].mean()
        transform.frequencies[40] = 40.3
        after = transform(tone)[40].mean()
    # half the sum of the window squared is all a row can collect
    assert after > before
    assert after == pytest.approx((256 / 4) ** 2, rel=1e-3)


def test_frequencies_learn_where_a_tone_is():
    transform = Spectrogram(
        sample_rate=8000, n_fft=64, hop_length=16, center=False, trainable=("frequencies",)
    )
    tone = torch.sin(torch.arange(1000) * (2 * torch.pi * 10.4 / 64))
    optimiser = torch.optim.Adam(transform.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        (-transform(tone)[10].mean()).backward()
        optimiser.step()
    assert transform.frequencies[10].item() == pytest.approx(10.4, abs=0.01)


def test_gradients_in_frequencies_are_true_derivatives():
    transform = MelSpectrogram(
        sample_rate=8000, n_fft=16, hop_length=5, n_mels=4, amin=1e-6, trainable=("frequencies",)
    ).double()
    start = (transform.frequencies + 0.1 * noise(9)).detach().requires_grad_()
    samples = noise(1, 60).double() * 10

    def values(frequencies):
        return torch.func.functional_call(transform, {"frequencies": frequencies}, (samples,))

    assert torch.autograd.gradcheck(values, (start,))


def test_mel_fourier_rows_are_even_on_the_mel_scale():
    transform = MelSpectrogram(**MEL, init="mel-fourier")
    hz = transform.frequencies.numpy() * 8000 / 64
    assert len(hz) == transform.config.n_freqs
    steps = np.diff(librosa.hz_to_mel(hz))
    # float32 frequencies
    assert np.ptp(steps) <= 1e-4 * steps.mean()
    assert hz[[0, -1]] == pytest.approx([0, 4000])


def test_mel_fourier_bands_hold_the_power_of_a_tone_where_it_is():
    waveform = torch.sin(torch.arange(16000) * (2 * torch.pi * 1234 / 16000))
    settings = {"sample_rate": 16000, "n_fft": 512, "n_mels": 30}
    specs = [
        MelSpectrogram(**settings, init=init, center=False)(waveform).mean(-1)
        for init in ("fourier", "mel-fourier")
    ]
    assert specs[0].argmax() == specs[1].argmax()
    # rows a bin apart sample the same peak at other places
    assert abs(specs[0].max() - specs[1].max()) < 1.0


def test_random_rows_are_seeded_and_as_loud_as_fourier_rows():
    start = {seed: Spectrogram(**SMALL, init="random", seed=seed).basis for seed in (0, 0, 1)}
    again = Spectrogram(**SMALL, init="random", seed=np.int64(0)).basis
    assert torch.equal(start[0], again)
    assert not torch.equal(start[0], start[1])
    fourier = fourier_basis(Spectrogram(**SMALL).config)
    assert start[0].norm() == pytest.approx(fourier.norm().item(), rel=0.05)


@pytest.mark.parametrize("init", ["mel-fourier", "random"])
def test_other_rows_than_those_of_fourier_need_the_dense_kernel(init):
    assert MelSpectrogram(**MEL, init=init).kernel_name == "conv"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init": "fouriér"}, "init must be fourier, mel-fourier, random or a basis file"),
        ({"init": "n" * 300}, "init must be fourier, mel-fourier, random or a basis file"),
        ({"init": "random", "trainable": ("frequencies",)}, "not name frequencies"),
    ],
)
def test_a_start_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ParameterError, match=message):
        MelSpectrogram(**MEL, **settings)


def test_pcen_equals_librosa():
    waveform = speech_like(16000, 32000)
    transform = MelSpectrogram(
        sample_rate=16000, n_fft=512, hop_length=160, n_mels=40, scale="pcen"
    )
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=16000, n_fft=512, hop_length=160, n_mels=40
    ).astype(np.float64)
    smoothing = transform.pcen.values["smoothing"][0].item()
    wanted = librosa.pcen(mel, sr=16000, hop_length=160, zi=(1 - smoothing) * mel[:, :1])
    got = transform(torch.from_numpy(waveform)).numpy()
    # float32 spectra and a float32 recursion of 200 frames
    assert np.abs(got - wanted).max() <= 2e-5 * np.abs(wanted).max()


def test_pcen_trains_within_its_ranges():
    transform = MelSpectrogram(**PCEN, trainable=("pcen",))
    assert [name for name, _ in transform.named_parameters()] == ["pcen.weight"]
    optimiser = torch.optim.SGD(transform.parameters(), lr=50.0)
    for _ in range(5):
        optimiser.zero_grad()
        transform(noise(2, 700)).mean().backward()
        optimiser.step()
    values = transform.pcen.values
    assert all((value > 0).all() for value in values.values())
    assert (values["smoothing"] < 1).all()
    assert torch.isfinite(transform(noise(2, 700))).all()


@pytest.mark.parametrize("names", [("mel",), ("pcen",), ("basis", "mel", "pcen")])
def test_pcen_stays_finite_in_steps_of_an_ordinary_optimiser(names):
    transform = MelSpectrogram(**PCEN, trainable=names)
    optimiser = torch.optim.Adam(transform.parameters(), lr=1e-3)
    for _ in range(3):
        optimiser.zero_grad()
        spec = transform(noise(2, 700))
        spec.square().mean().backward()
        optimiser.step()
        assert torch.isfinite(spec).all()
        assert all(torch.isfinite(weight.grad).all() for weight in transform.parameters())


def test_bands_below_zero_are_silent_in_pcen():
    transform = MelSpectrogram(**PCEN, trainable=("mel",))
    whole = transform(noise(2, 700))
    with torch.no_grad():
        transform.mel[3].neg_()
    spec = transform(noise(2, 700))
    assert not spec[:, 3].any()
    others = [band for band in range(12) if band != 3]
    assert torch.equal(spec[:, others], whole[:, others])


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("weight", [-200.0, -20.0, 20.0, 200.0])
def test_no_weight_leaves_the_ranges_of_pcen(row, weight, tmp_path):
    transform = MelSpectrogram(**PCEN, trainable=("pcen",))
    with torch.no_grad():
        transform.pcen.weight[row, 3] = weight
    transform.save_basis(tmp_path / "b.safetensors")
    values = transform.pcen.values
    assert all((value > 0).all() and torch.isfinite(value).all() for value in values.values())
    assert (values["smoothing"] < 1).all()


@pytest.mark.parametrize(
    ("row", "weight"),
    [(0, 3.0), (0, -20.0), (1, -20.0), (1, 20.0), (2, -20.0), (3, -200.0), (3, 20.0), (3, 200.0)],
)
@pytest.mark.parametrize("waveform", [noise(2, 700), torch.zeros(2, 700)], ids=["noise", "zeros"])
def test_pcen_is_finite_far_from_where_it_starts(row, weight, waveform):
    transform = MelSpectrogram(**PCEN, trainable=("pcen", "mel"))
    with torch.no_grad():
        transform.pcen.weight[row, 3] = weight
    spec = transform(waveform)
    spec.sum().backward()
    assert torch.isfinite(spec).all()
    assert all(torch.isfinite(weight.grad).all() for weight in transform.parameters())


def test_gradients_of_pcen_are_true_derivatives():
    transform = MelSpectrogram(
        sample_rate=8000, n_fft=16, hop_length=5, n_mels=3, scale="pcen", trainable=("pcen",)
    ).double()
    samples = noise(1, 60).double() * 10

    def values(weight):
        return torch.func.functional_call(transform, {"pcen.weight": weight}, (samples,))

    assert torch.autograd.gradcheck(values, (transform.pcen.weight,))


def test_pcen_at_silence_has_finite_gradients():
    transform = MelSpectrogram(**PCEN, trainable=("pcen", "basis"))
    transform(torch.zeros(1, 700)).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in transform.parameters())


@pytest.mark.parametrize("n_samples", [300, 1283, 9000])
def test_an_item_is_the_same_to_the_last_bit_in_any_batch_of_pcen(n_samples):
    transform, waveform = MelSpectrogram(**MEL, scale="pcen"), noise(7, n_samples)
    together = transform(waveform)
    for first, last in ((0, 1), (2, 5), (6, 7)):
        assert torch.equal(transform(waveform[first:last]), together[first:last])


@pytest.mark.parametrize("n_samples", [400, 1000])
def test_an_item_is_the_same_to_the_last_bit_in_any_batch_of_mfcc(n_samples):
    # an odd number of bands: rows of the second item begin in the middle of a vector register
    transform = MFCC(n_fft=400, hop_length=133, center=False, n_mels=43, n_mfcc=38, scale="none")
    waveform = noise(40, n_samples)
    alone = [transform(item) for item in waveform]
    assert torch.equal(transform(waveform), torch.stack(alone))


def test_pcen_of_stretches_is_that_of_the_whole():
    transform = MelSpectrogram(**PCEN, center=False)
    spec = transform.run(noise(2, 900))
    whole = transform.finish(spec, None)
    first, after = transform.finish_stretch(spec[..., :17], None)
    second, _ = transform.finish_stretch(spec[..., 17:], None, after)
    # sums in another order
    torch.testing.assert_close(torch.cat([first, second], -1), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("given", [{"ref": 1.0}, {"top_db": 80.0}])
def test_pcen_refuses_what_only_a_logarithm_has(given):
    (name,) = given
    with pytest.raises(ParameterError, match=f"{name} has no effect with scale 'pcen'"):
        MelSpectrogram(**PCEN, **given)


@pytest.mark.parametrize("feature", ["power", "mfcc"])
def test_pcen_is_for_bands(feature):
    with pytest.raises(ParameterError, match="feature must be 'mel' with scale 'pcen'"):
        kind = MFCC if feature == "mfcc" else Spectrogram
        kind(**SMALL, feature=feature, scale="pcen")


@pytest.mark.parametrize("trainable", [("frequencies",), ("pcen",)])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_computes_the_same(trainable, copied):
    transform = MelSpectrogram(**PCEN, trainable=trainable)
    step(transform, noise(1, 400))
    again = copied(transform)
    assert torch.equal(again(noise(1, 400)), transform(noise(1, 400)))
