import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from specctl.dsp.reference import reference_spectrogram
from specctl.kernels.bands import Bands
from tests.dsp.signals import noise, signals
from tests.kernels.gpu.chains import (
    NAMES,
    RUN,
    chain_and_weights,
    config_of,
    padded_for,
    plain_chain,
    spec_of,
    transform_of,
)

# programs take milliseconds each here, and every row of a basis and every band has one
SMALL = {"sample_rate": 8000, "n_fft": 64, "hop_length": 19}
CASES = {
    "complex": {**SMALL, "feature": "complex"},
    "complex, 101": {"feature": "complex", "n_fft": 101, "hop_length": 33},
    "magnitude in dB, reflect": {
        **SMALL,
        "feature": "magnitude",
        "win_length": 51,
        "pad_mode": "reflect",
        "scale": "db",
    },
    "power, 100": {"feature": "power", "n_fft": 100, "hop_length": 33, "window": "hamming"},
    "power, not centred": {**SMALL, "feature": "power", "window": "boxcar", "center": False},
    "power of four samples": {"feature": "power", "n_fft": 4, "hop_length": 3},
    "mel": {**SMALL, "n_mels": 9, "scale": "none"},
    "mel in dB": {**SMALL, "n_mels": 9},
    "mel of the magnitude, ln": {**SMALL, "n_mels": 7, "power": 1.0, "scale": "ln"},
    "mel of an uneven power": {**SMALL, "n_mels": 9, "power": 1.5, "fmin": 300.0, "fmax": 2000.0},
    "mel against its peak": {**SMALL, "n_mels": 9, "ref": "max", "top_db": 30.0},
    "mel, more bands than bins": {"n_fft": 32, "hop_length": 9, "n_mels": 20, "amin": 1e-6},
    "mel, 400": {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 20},
}
KERNEL_CASES = [
    pytest.param(name, settings, id=f"{name}-{case}")
    for name in NAMES
    for case, settings in CASES.items()
    if name != "fold" or settings["n_fft"] % 4 == 0
]
every_kernel_and_case = pytest.mark.parametrize(("name", "settings"), KERNEL_CASES)

# as for the kernels on a CPU: float32 after sums of a few hundred products
LINEAR_TOLERANCE = 2e-6
# of a logarithm's unit, wherever a value is at most 60 dB below the peak
DECIBEL_TOLERANCE = 1e-3


def assert_equals_reference(spec, waveform, settings):
    config = config_of(settings)
    wanted = reference_spectrogram(waveform, config)
    assert spec.shape == wanted.shape
    off = (spec - wanted).abs()
    peak = wanted.abs().amax(dim=(-2, -1), keepdim=True)
    if config.scale == "none":
        assert (off <= LINEAR_TOLERANCE * peak).all()
        return
    linear = config.model_copy(update={"scale": "none", "ref": None, "amin": None, "top_db": None})
    values = reference_spectrogram(waveform, linear)
    loud = values >= values.amax(dim=(-2, -1), keepdim=True) * 10 ** (-3 * config.power)
    assert off[loud].max() <= DECIBEL_TOLERANCE
    assert torch.isfinite(spec).all()


@every_kernel_and_case
def test_loud_and_soft_items_equal_the_float64_reference(name, settings):
    waveform = noise(3, 501)
    waveform[1] *= 1e-3
    waveform[2] *= 1000
    assert_equals_reference(spec_of(name, settings, waveform), waveform, settings)


@pytest.mark.parametrize("case", ["complex", "power, 100", "mel in dB"])
@pytest.mark.parametrize("name", NAMES)
def test_items_longer_than_a_piece_equal_the_reference(name, case):
    waveform = noise(2, 33 * 110)
    assert_equals_reference(spec_of(name, CASES[case], waveform), waveform, CASES[case])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_samples", [1, 37])
def test_items_shorter_than_a_frame_equal_the_reference(name, n_samples):
    waveform = noise(5, n_samples)
    settings = CASES["mel in dB"]
    assert_equals_reference(spec_of(name, settings, waveform), waveform, settings)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["complex", "magnitude in dB, reflect", "mel in dB"])
def test_an_item_is_the_same_to_the_last_bit_in_any_batch(name, case):
    waveform = noise(5, 400)
    waveform[1] *= 1000
    waveform[2] = 0
    waveform[3] = math.nan
    together = spec_of(name, CASES[case], waveform)
    for items in ([0], [4, 2, 1]):
        assert torch.equal(together[items], spec_of(name, CASES[case], waveform[items]))


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_sample_spoils_the_frames_that_hold_it_and_no_other(name):
    settings = {"sample_rate": 8000, "n_fft": 100, "hop_length": 30, "n_mels": 9, "center": False}
    waveform = noise(600).repeat(2, 1)
    waveform[0, 300] = math.nan
    spoilt, clean = spec_of(name, settings, waveform)
    start = 30 * torch.arange(clean.shape[-1])
    holds = (start <= 300) & (start + 100 > 300)
    assert spoilt[:, holds].isnan().all()
    assert torch.equal(spoilt[:, ~holds], clean[:, ~holds])


@pytest.mark.parametrize("name", NAMES)
def test_silence_is_exactly_the_floor(name):
    spec = spec_of(name, CASES["mel in dB"], torch.zeros(2, 200))
    assert (spec == -100.0).all()


@pytest.mark.parametrize("name", NAMES)
def test_another_default_dtype_changes_no_number(name, request):
    waveform = noise(2, 300)
    wanted = spec_of(name, CASES["mel in dB"], waveform)
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        assert torch.equal(spec_of(name, CASES["mel in dB"], waveform), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_bands_while_they_are_trained_give_the_same_values(name):
    waveform = noise(2, 300)
    # more than are multiplied at once: while they are trained every bin reaches all of them
    settings = {**SMALL, "n_mels": 18}
    fixed = spec_of(name, settings, waveform)
    trained = spec_of(name, settings, waveform, trainable=("mel",)).detach()
    # the same products in sums of another length, in dB
    torch.testing.assert_close(trained, fixed, atol=1e-4, rtol=0)


def test_a_trained_basis_of_any_values_equals_its_product():
    transform = transform_of("dense", {**SMALL, "feature": "complex"}, trainable=("basis",))
    with torch.no_grad():
        # rows of very different sizes, and one of zeros
        transform.basis.copy_(noise(66, 64) * torch.logspace(-8, 8, 66)[:, None])
        transform.basis[7] = 0
    chain, _ = chain_and_weights(transform, torch.float32, ())
    exact, _ = chain_and_weights(transform, torch.float64, ())
    waveform = noise(2, 300)
    wanted = torch.view_as_real(plain_chain(waveform.double(), exact))
    off = (torch.view_as_real(RUN["dense"](waveform, chain)) - wanted).abs()
    # each row against its own size
    assert (off <= LINEAR_TOLERANCE * wanted.abs().amax(dim=(0, 2), keepdim=True)).all()


@pytest.mark.parametrize("name", ["fft", "fold"])
@pytest.mark.parametrize("size", [1e-20, 1e-5, 0.3, 200.0, 1e4, 1e15])
def test_a_trained_window_of_any_size_gives_its_spectra(name, size):
    transform = transform_of(name, {**SMALL, "feature": "complex"}, trainable=("window",))
    with torch.no_grad():
        transform.window.copy_(size * noise(64, seed=1))
    chain, _ = chain_and_weights(transform, torch.float32, ())
    exact, _ = chain_and_weights(transform, torch.float64, ())
    waveform = noise(3, 300) * torch.tensor([[1.0], [1e-5], [1e5]])
    wanted = torch.view_as_real(plain_chain(waveform.double(), exact))
    off = (torch.view_as_real(RUN[name](waveform, chain)) - wanted).abs()
    assert (off <= LINEAR_TOLERANCE * wanted.abs().amax(dim=(1, 2, 3), keepdim=True)).all()


def spread(weight):
    """The same numbers, each apart from the next, as a checkpoint or a model may have them."""
    return weight.new_full((*weight.shape, 2), math.nan).select(-1, 0).copy_(weight)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("feature", ["complex", "mel"])
def test_weights_may_lie_in_memory_in_any_way(name, feature):
    settings = {**SMALL, "feature": feature}
    if feature == "mel":
        # a single bin reaches it
        settings.update(n_mels=1, fmin=480.0, fmax=520.0, mel_norm="none")
    chain = transform_of(name, settings)._chain()
    bands = None if chain.bands is None else Bands(spread(chain.bands.mel))
    basis = None if chain.basis is None else spread(chain.basis)
    apart = replace(chain, window=spread(chain.window), basis=basis, bands=bands)
    waveform = noise(2, 300)
    assert torch.equal(RUN[name](waveform, apart), RUN[name](waveform, chain))


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_holds_on_sound(name):
    settings = {"n_fft": 512, "hop_length": 500, "n_mels": 20, "scale": "none"}
    settings["sample_rate"] = 16000
    waveform = torch.tensor(np.stack([*signals(16000, 8000).values()]), dtype=torch.float32)
    wanted = reference_spectrogram(waveform, config_of(settings))
    got = spec_of(name, settings, waveform).double()
    level = wanted / wanted.amax(dim=(1, 2), keepdim=True)
    off_db = 10 * torch.log10(got / wanted).abs()
    assert off_db[level >= 1e-8].max() <= 0.01
    assert ((got - wanted).abs() / wanted)[level >= 1e-4].max() <= 1e-4


# relative to the peak: bfloat16 has 8 bits, one fp16 limb 11, of which sums average some out
@pytest.mark.parametrize(
    ("precision", "least", "most"), [("tf32", 1e-5, 1e-3), ("bf16", 1e-4, 1e-2)]
)
def test_cheaper_precisions_cost_the_digits_that_they_should(precision, least, most):
    settings = {**SMALL, "feature": "magnitude"}
    waveform = noise(1, 600)
    transform = transform_of("dense", settings)
    chain = replace(transform._chain(), precision=precision)
    got = RUN["dense"](padded_for(transform, waveform), chain)
    wanted = reference_spectrogram(waveform, config_of(settings))
    assert least < (got - wanted).abs().max() / wanted.max() < most
