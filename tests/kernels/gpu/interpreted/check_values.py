import math
from dataclasses import replace

import pytest
import torch

from specctl.dsp.reference import reference_spectrogram
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

SMALL = {"sample_rate": 8000, "n_fft": 128, "hop_length": 37}
CASES = {
    "complex": {**SMALL, "feature": "complex"},
    "complex, 101": {"feature": "complex", "n_fft": 101, "hop_length": 33},
    "magnitude in dB, reflect": {
        **SMALL,
        "feature": "magnitude",
        "win_length": 99,
        "pad_mode": "reflect",
        "scale": "db",
    },
    "power, 100": {"feature": "power", "n_fft": 100, "hop_length": 33, "window": "hamming"},
    "power, not centred": {**SMALL, "feature": "power", "window": "boxcar", "center": False},
    "power of four samples": {"feature": "power", "n_fft": 4, "hop_length": 3},
    "mel": {**SMALL, "n_mels": 20, "scale": "none"},
    "mel in dB": {**SMALL, "n_mels": 20},
    "mel of the magnitude, ln": {**SMALL, "n_mels": 33, "power": 1.0, "scale": "ln"},
    "mel of an uneven power": {**SMALL, "n_mels": 20, "power": 1.5, "fmin": 300.0, "fmax": 2000.0},
    "mel against its peak": {**SMALL, "n_mels": 20, "ref": "max", "top_db": 30.0},
    "mel, more bands than bins": {"n_fft": 32, "hop_length": 9, "n_mels": 40, "amin": 1e-6},
    "mel, 400": {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 80},
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
    waveform = noise(3, 1201)
    waveform[1] *= 1e-3
    waveform[2] *= 1000
    assert_equals_reference(spec_of(name, settings, waveform), waveform, settings)


@pytest.mark.parametrize("case", ["complex", "power, 100", "mel in dB"])
@pytest.mark.parametrize("name", NAMES)
def test_items_longer_than_a_piece_equal_the_reference(name, case):
    waveform = noise(2, 37 * 230)
    assert_equals_reference(spec_of(name, CASES[case], waveform), waveform, CASES[case])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_samples", [1, 37, 128])
def test_items_shorter_than_a_frame_equal_the_reference(name, n_samples):
    waveform = noise(5, n_samples)
    settings = CASES["mel in dB"]
    assert_equals_reference(spec_of(name, settings, waveform), waveform, settings)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["complex", "magnitude in dB, reflect", "mel in dB"])
def test_an_item_is_the_same_to_the_last_bit_in_any_batch(name, case):
    waveform = noise(5, 700)
    waveform[1] *= 1000
    waveform[2] = 0
    waveform[3] = math.nan
    together = spec_of(name, CASES[case], waveform)
    for item in (0, 1, 2, 4):
        assert torch.equal(
            together[item], spec_of(name, CASES[case], waveform[item : item + 1])[0]
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_sample_spoils_the_frames_that_hold_it_and_no_other(name):
    settings = {"sample_rate": 8000, "n_fft": 100, "hop_length": 30, "n_mels": 20, "center": False}
    waveform = noise(1, 2000)
    clean = spec_of(name, settings, waveform)
    waveform[0, 1000] = math.nan
    spec = spec_of(name, settings, waveform)
    start = 30 * torch.arange(spec.shape[-1])
    holds = (start <= 1000) & (start + 100 > 1000)
    assert spec[0, :, holds].isnan().all()
    assert torch.equal(spec[0, :, ~holds], clean[0, :, ~holds])


@pytest.mark.parametrize("name", NAMES)
def test_silence_is_exactly_the_floor(name):
    spec = spec_of(name, CASES["mel in dB"], torch.zeros(2, 500))
    assert (spec == -100.0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_another_default_dtype_changes_no_number(name, dtype, request):
    waveform = noise(2, 700)
    wanted = spec_of(name, CASES["mel in dB"], waveform)
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(dtype)
    assert torch.equal(spec_of(name, CASES["mel in dB"], waveform), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_bands_while_they_are_trained_give_the_same_values(name):
    waveform = noise(2, 700)
    settings = CASES["mel in dB"]
    fixed = spec_of(name, settings, waveform)
    trained = spec_of(name, settings, waveform, trainable=("mel",)).detach()
    # the same products in sums of another length, in dB
    torch.testing.assert_close(trained, fixed, atol=1e-4, rtol=0)


def test_a_trained_basis_of_any_values_equals_its_product():
    transform = transform_of("dense", {**SMALL, "feature": "complex"}, trainable=("basis",))
    with torch.no_grad():
        # rows of very different sizes, and one of zeros
        transform.basis.copy_(noise(130, 128) * torch.logspace(-8, 8, 130)[:, None])
        transform.basis[7] = 0
    chain, _ = chain_and_weights(transform, torch.float32, ())
    exact, _ = chain_and_weights(transform, torch.float64, ())
    waveform = noise(2, 600)
    wanted = torch.view_as_real(plain_chain(waveform.double(), exact))
    off = (torch.view_as_real(RUN["dense"](waveform, chain)) - wanted).abs()
    # each row against its own size
    assert (off <= LINEAR_TOLERANCE * wanted.abs().amax(dim=(0, 2), keepdim=True)).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("signal", ["speech", "music", "16 bit", "quiet"])
def test_the_contract_holds_on_sound(name, signal):
    settings = {"sample_rate": 16000, "n_fft": 512, "hop_length": 500, "n_mels": 40}
    waveform = torch.as_tensor(signals(16000, 8000)[signal], dtype=torch.float32)[None]
    config = config_of({**settings, "scale": "none"})
    wanted = reference_spectrogram(waveform, config)
    got = spec_of(name, {**settings, "scale": "none"}, waveform).double()
    level = wanted / wanted.max()
    off_db = 10 * torch.log10(got / wanted).abs()
    assert off_db[level >= 1e-8].max() <= 0.01
    assert ((got - wanted).abs() / wanted)[level >= 1e-4].max() <= 1e-4


# relative to the peak: bfloat16 has 8 bits, one fp16 limb 11, of which sums average some out
@pytest.mark.parametrize(
    ("precision", "least", "most"), [("tf32", 1e-5, 1e-3), ("bf16", 1e-4, 1e-2)]
)
def test_cheaper_precisions_cost_the_digits_that_they_should(precision, least, most):
    settings = {**SMALL, "feature": "magnitude"}
    waveform = noise(1, 2000)
    transform = transform_of("dense", settings)
    chain = replace(transform._chain(), precision=precision)
    got = RUN["dense"](padded_for(transform, waveform), chain)
    wanted = reference_spectrogram(waveform, config_of(settings))
    assert least < (got - wanted).abs().max() / wanted.max() < most
