"""The five laws of every kernel, over one table of cases."""

import math

import pytest
import torch

from specctl.config import SpectrogramConfig
from specctl.dsp.reference import reference_spectrogram
from specctl.errors import ParameterError
from specctl.kernels.base import Demand
from specctl.kernels.registry import KERNELS
from specctl.transforms import Transform, transform_for
from tests.dsp.signals import noise

CPU = torch.device("cpu")
DEMAND = Demand(SpectrogramConfig.resolve(), CPU, "fp32")
KERNEL_NAMES = [name for name, kernel in KERNELS.items() if kernel.problem(DEMAND) is None]

SMALL = {"sample_rate": 8000, "n_fft": 128, "hop_length": 37}
CASES = {
    "complex": {**SMALL, "feature": "complex"},
    "complex, odd size": {"feature": "complex", "n_fft": 101, "hop_length": 33},
    "magnitude, short window": {**SMALL, "feature": "magnitude", "win_length": 99},
    "magnitude in dB": {**SMALL, "feature": "magnitude", "scale": "db"},
    "power": {**SMALL, "feature": "power"},
    "power, hamming, reflect": {
        **SMALL,
        "feature": "power",
        "window": "hamming",
        "pad_mode": "reflect",
    },
    "power, blackman, edge": {
        **SMALL,
        "feature": "power",
        "window": "blackman",
        "pad_mode": "edge",
    },
    "power, boxcar, not centred": {
        **SMALL,
        "feature": "power",
        "window": "boxcar",
        "center": False,
    },
    "power of three samples": {"feature": "power", "n_fft": 3, "hop_length": 1},
    "power of two samples": {"feature": "power", "n_fft": 2, "hop_length": 5, "window": "boxcar"},
    "mel, linear": {**SMALL, "n_mels": 20, "scale": "none"},
    "mel of the magnitude": {**SMALL, "n_mels": 20, "power": 1.0, "scale": "none"},
    "mel of an uneven power": {**SMALL, "n_mels": 20, "power": 1.5},
    "mel in dB": {**SMALL, "n_mels": 20},
    "mel, ln": {**SMALL, "n_mels": 33, "fmin": 50.0, "fmax": 3000.0, "scale": "ln"},
    "mel, log10": {
        **SMALL,
        "n_mels": 7,
        "mel_scale": "htk",
        "mel_norm": "none",
        "scale": "log10",
        "ref": 0.5,
        "amin": 1e-6,
    },
    "mel against its peak": {**SMALL, "n_mels": 20, "ref": "max", "top_db": 30.0},
    "mel, more bands than bins": {"n_fft": 32, "hop_length": 9, "n_mels": 40, "amin": 1e-6},
    "mfcc": {**SMALL, "feature": "mfcc", "n_mels": 20, "n_mfcc": 13},
    "mfcc, liftered": {
        **SMALL,
        "feature": "mfcc",
        "n_mels": 20,
        "n_mfcc": 13,
        "lifter": 22,
        "scale": "ln",
        "top_db": None,
    },
}

# float32 carries 24 bits; an FFT or a product of this size loses three or four of them
LINEAR_TOLERANCE = 2e-6
# of a logarithm's unit, wherever a value is at most 60 dB below the peak
DECIBEL_TOLERANCE = 1e-3
# summing 20 bands of which a few are far below the peak
MFCC_TOLERANCE = 1e-2
# gradients pass the same sums twice and divide by powers
GRADIENT_TOLERANCE = 1e-4

every_case = pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
every_kernel = pytest.mark.parametrize("kernel", KERNEL_NAMES)


def config_of(settings):
    return SpectrogramConfig.resolve(**settings)


def parts(spec):
    return torch.view_as_real(spec) if spec.is_complex() else spec


def assert_equals_reference(spec, waveform, config):
    reference = reference_spectrogram(waveform, config)
    assert spec.shape == reference.shape
    off = (spec - reference).abs()
    if config.scale == "none":
        assert off.max() <= LINEAR_TOLERANCE * reference.abs().max()
    elif config.feature == "mfcc":
        assert off.max() <= MFCC_TOLERANCE
    else:
        linear = reference_spectrogram(waveform, linear_config(config))
        loud = linear >= linear.amax(dim=(-2, -1), keepdim=True) * 10 ** (-3 * config.power)
        assert off[loud].max() <= DECIBEL_TOLERANCE
        assert torch.isfinite(spec).all()


def linear_config(config):
    return config.model_copy(update={"scale": "none", "ref": None, "amin": None, "top_db": None})


@every_case
@every_kernel
@pytest.mark.parametrize("n_samples", [1999, 2048, 200])
def test_equals_the_float64_reference(settings, kernel, n_samples):
    config = config_of(settings)
    transform = transform_for(config, kernel=kernel)
    transform(torch.full((3000,), math.nan))  # leaves NaN in memory that is used again
    waveform = noise(1, n_samples)
    assert_equals_reference(transform(waveform), waveform, config)


@every_case
@every_kernel
def test_equals_the_reference_while_gradients_are_taken(settings, kernel):
    config = config_of(settings)
    waveform = noise(2, 777).requires_grad_()
    spec = transform_for(config, kernel=kernel)(waveform)
    assert_equals_reference(spec.detach(), waveform.detach(), config)


@every_case
@every_kernel
def test_an_item_is_the_same_to_the_last_bit_in_any_batch(settings, kernel):
    transform = transform_for(config_of(settings), kernel=kernel)
    waveform = noise(5, 1234)
    waveform[1] *= 1000
    waveform[2] = 0
    waveform[3] = math.nan
    together = transform(waveform)
    for item in (0, 1, 2, 4):
        assert torch.equal(together[item], transform(waveform[item]))


@every_case
@every_kernel
def test_gives_the_number_of_frames_that_the_config_says(settings, kernel):
    config = config_of(settings)
    transform = transform_for(config, kernel=kernel)
    n_fft, hop = config.n_fft, config.hop_length
    for n_samples in {1, 2, n_fft - 1, n_fft, n_fft + 1, n_fft + hop - 1, n_fft + hop, 1000}:
        n_frames = config.n_frames(n_samples)
        if n_frames:
            assert transform(noise(n_samples)).shape == (config.n_bins, n_frames)
        else:
            with pytest.raises(ParameterError, match="with at least"):
                transform(noise(n_samples))


def floor_of(config):
    """What a value that is 0 becomes."""
    if config.scale == "none":
        return 0.0
    if config.ref == "max":
        return 0.0
    decades = math.log10(config.amin) - math.log10(max(config.ref, config.amin))
    unit = {"db": 20 / (config.power or 2), "ln": math.log(10), "log10": 1}[config.scale]
    return decades * unit


@every_case
@every_kernel
def test_silence_gives_silence(settings, kernel):
    config = config_of(settings)
    spec = transform_for(config, kernel=kernel)(torch.zeros(2, 999))
    assert torch.isfinite(parts(spec)).all()
    if config.feature == "mfcc":
        spec = spec[:, 1:]  # all but the mean are 0 where bands are equal
        torch.testing.assert_close(spec, torch.zeros_like(spec), atol=1e-4, rtol=0)
        return
    first = spec[0, 0, 0]
    assert (spec == first).all()
    assert abs(first) == pytest.approx(abs(floor_of(config)), rel=2e-7)


@pytest.mark.parametrize("kernel", KERNEL_NAMES)
def test_the_floor_is_exactly_100_db_down(kernel):
    spec = transform_for(config_of(CASES["mel in dB"]), kernel=kernel)(torch.zeros(500))
    assert (spec == -100.0).all()


@every_kernel
@pytest.mark.parametrize("power", [7.5, 8.0, 9.0, 10.0, 30.0])
@pytest.mark.parametrize("scale", ["db", "ln", "log10"])
def test_silence_is_finite_whatever_the_power(kernel, power, scale):
    config = config_of({**SMALL, "n_mels": 20, "power": power, "scale": scale})
    waveform = torch.stack([torch.zeros(500), noise(500) * 1e-3])
    spec = transform_for(config, kernel=kernel)(waveform)
    assert torch.isfinite(spec).all()
    assert spec[0, 0, 0] == pytest.approx(floor_of(config), rel=2e-7)


def gradient_of(transform, waveform):
    """Gradient of a fixed weighting of all values with respect to the waveform."""
    waveform = waveform.clone().requires_grad_()
    values = parts(transform(waveform))
    weights = torch.linspace(-1, 1, values.numel(), dtype=values.dtype).reshape(values.shape)
    (values * weights).sum().backward()
    return waveform.grad


def assert_gradients_close(got, wanted):
    assert torch.isfinite(got).all()
    assert (got - wanted).abs().max() <= GRADIENT_TOLERANCE * wanted.abs().max()


@every_case
@every_kernel
def test_gradients_in_the_waveform_are_those_of_the_reference(settings, kernel):
    config = config_of(settings)
    waveform = noise(2, 700)
    got = gradient_of(transform_for(config, kernel=kernel), waveform)
    wanted = gradient_of(lambda samples: reference_spectrogram(samples, config), waveform.double())
    assert_gradients_close(got, wanted)


TRAINED = [
    (kernel, name)
    for kernel in KERNEL_NAMES
    for name in ("basis", "window", "mel")
    if name != "basis" or KERNELS[kernel].takes_trained_basis
]
TINY = {"sample_rate": 8000, "n_fft": 8, "hop_length": 3, "n_mels": 4, "amin": 1e-6}


def trained(kernel, name, settings):
    if name == "mel" and settings["feature"] not in ("mel", "mfcc"):
        pytest.skip("there are no bands to train")
    return Transform.from_config(config_of(settings), kernel=kernel, trainable=(name,))


@pytest.mark.parametrize(("kernel", "name"), TRAINED)
@pytest.mark.parametrize(
    "settings",
    [
        {"feature": "complex", "n_fft": 8, "hop_length": 3},
        {"feature": "magnitude", "n_fft": 8, "hop_length": 3},
        {"feature": "power", "n_fft": 9, "win_length": 7, "hop_length": 4},
        {**TINY, "feature": "mel"},
        {**TINY, "feature": "mel", "scale": "ln"},
        {**TINY, "feature": "mel", "scale": "log10", "power": 1.0},
        {**TINY, "feature": "mel", "scale": "none"},
        {**TINY, "feature": "mfcc", "n_mfcc": 3},
    ],
    ids=lambda settings: f"{settings['feature']}-{settings.get('scale', 'default')}",
)
def test_gradients_in_trained_weights_are_true_derivatives(kernel, name, settings):
    settings = dict(settings)
    if settings.get("scale") == "none":
        settings.pop("amin")
    transform = trained(kernel, name, settings).double()
    weight = getattr(transform, name)
    # a step away from zeros and symmetries, where one-sided derivatives differ
    start = (weight + 0.05 * noise(*weight.shape).abs()).detach().requires_grad_()

    def values(value):
        return parts(torch.func.functional_call(transform, {name: value}, (samples,)))

    samples = noise(1, 30).double() * 10
    assert torch.autograd.gradcheck(values, (start,))


@pytest.mark.parametrize(("kernel", "name"), TRAINED)
@pytest.mark.parametrize("case", ["mel in dB", "mel, ln", "mel, log10", "mel, linear", "mfcc"])
def test_gradients_in_trained_weights_are_those_of_float64(kernel, name, case):
    waveform = noise(2, 700)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        transform = trained(kernel, name, {"feature": "mel", **CASES[case]}).to(dtype)
        gradient_of(transform, waveform.to(dtype))
        gradients.append(getattr(transform, name).grad)
    assert_gradients_close(*gradients)


@every_kernel
@pytest.mark.parametrize("feature", ["magnitude", "mel"])
def test_gradients_at_silence_are_zero(kernel, feature):
    settings = {**SMALL, "feature": feature, "scale": "none"}
    if feature == "mel":
        settings |= {"n_mels": 20, "power": 1.0}
    gradient = gradient_of(transform_for(config_of(settings), kernel=kernel), torch.zeros(1, 500))
    assert (gradient == 0).all()
