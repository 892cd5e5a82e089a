import math

import pytest
import torch

from tests.dsp.signals import noise
from tests.kernels.gpu.chains import (
    RUN,
    both_gradients,
    chain_and_weights,
    gradients,
    padded_for,
    plain_chain,
    transform_of,
)

# both parts of its bins, 62 columns, fit one tile
SMALL = {"sample_rate": 8000, "n_fft": 60, "hop_length": 19}
CASES = {
    "magnitude": {**SMALL, "feature": "magnitude"},
    "power, 100": {"feature": "power", "n_fft": 100, "hop_length": 33},
    "mel": {**SMALL, "n_mels": 9, "scale": "none"},
    # more bands than are multiplied at once
    "mel in dB": {**SMALL, "n_mels": 18},
    "mel, ln, 144": {**SMALL, "n_fft": 144, "hop_length": 60, "n_mels": 9, "scale": "ln"},
    "mel of an uneven power": {**SMALL, "n_mels": 9, "power": 1.5},
    "power in dB": {**SMALL, "feature": "power", "scale": "db"},
    "magnitude, ln, 100": {
        **{"feature": "magnitude", "n_fft": 100, "hop_length": 33},
        # half of the values lie below it
        **{"scale": "ln", "amin": 0.5, "ref": 3.0},
    },
    "mel, hop longer than a frame": {"n_fft": 64, "hop_length": 80, "n_mels": 7, "center": False},
}
LOGARITHMS = {case: CASES[case] for case in ("mel in dB", "power in dB", "magnitude, ln, 100")}
every_case = pytest.mark.parametrize("settings", CASES.values(), ids=CASES)

# of the largest: two limbs of bfloat16 carry 16 bits, and gradients divide by powers
TOLERANCE = 1e-4


def assert_close(got, wanted):
    assert got.dtype == torch.float32
    assert torch.isfinite(got).all()
    assert (got - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


def loud_and_soft(n_samples):
    waveform = noise(3, n_samples)
    waveform[1] *= 0.03
    waveform[2] *= 30
    return waveform


@every_case
def test_dense_gradients_are_those_of_float64(settings):
    trained = ("waveform", "basis", "mel") if "n_mels" in settings else ("waveform", "basis")
    pairs = both_gradients("dense", settings, loud_and_soft(301), trained)
    for name in ("basis", "mel"):
        if name in pairs:
            assert_close(*pairs[name])
    for got, wanted in zip(*pairs["waveform"], strict=True):
        assert_close(got, wanted)


@pytest.mark.parametrize("trained", ["waveform", "basis"])
def test_dense_gradients_with_fixed_bands_are_those_of_float64(trained):
    settings = {**SMALL, "n_mels": 9, "fmin": 500.0, "fmax": 3000.0}
    assert_close(*both_gradients("dense", settings, noise(2, 500), (trained,))[trained])


def test_dense_gradients_of_a_long_item_are_those_of_float64():
    # several pieces, each beginning in the middle of the item
    pairs = both_gradients("dense", CASES["mel in dB"], noise(1, 19 * 230), ("waveform", "basis"))
    for got, wanted in pairs.values():
        assert_close(got, wanted)


@pytest.mark.parametrize("name", ["fft", "fold"])
@pytest.mark.parametrize("case", ["magnitude", "mel in dB"])
def test_gradients_of_the_fourier_basis_are_those_of_float64(name, case):
    settings = CASES[case]
    trained = ("waveform", "window", "mel") if "n_mels" in settings else ("waveform", "window")
    for got, wanted in both_gradients(name, settings, noise(2, 300), trained).values():
        assert_close(got, wanted)


@pytest.mark.parametrize("name", ["fft", "fold", "dense"])
def test_gradients_of_complex_spectra_are_those_of_float64(name):
    settings = {**SMALL, "feature": "complex"}
    weight = "basis" if name == "dense" else "window"
    for got, wanted in both_gradients(
        name, settings, noise(2, 300), ("waveform", weight)
    ).values():
        assert_close(got, wanted)


@pytest.mark.parametrize("name", ["fft", "fold", "dense"])
@pytest.mark.parametrize("case", LOGARITHMS)
def test_a_result_may_be_changed_in_place(name, case):
    settings = LOGARITHMS[case]
    trained = ("waveform", "basis") if name == "dense" else ("waveform", "window")
    transform = transform_of(name, settings)
    padded = padded_for(transform, noise(2, 300))

    def masked(run):
        def spec_of(padded, chain):
            spec = run(padded, chain)
            spec[:, 3:6] = 0.0
            return spec.mul_(2.0)

        return spec_of

    got, wanted = (
        gradients(masked(run), padded, *chain_and_weights(transform, dtype, trained), trained)
        for run, dtype in ((RUN[name], torch.float32), (plain_chain, torch.float64))
    )
    for each in trained:
        assert_close(got[each], wanted[each])


def test_gradients_at_cheaper_precisions_point_the_same_way():
    settings = {**SMALL, "feature": "power"}
    full, exact = both_gradients("dense", settings, noise(1, 500), ("basis",))["basis"]
    for precision in ("tf32", "bf16"):
        rough, _ = both_gradients(
            "dense", settings, noise(1, 500), ("basis",), precision=precision
        )["basis"]
        assert not torch.equal(rough, full)
        similar = torch.cosine_similarity(rough.double().flatten(), exact.flatten(), dim=0)
        assert similar > 0.9999


@pytest.mark.parametrize(
    "case", ["magnitude", "mel in dB", "mel of an uneven power", "magnitude, ln, 100"]
)
def test_gradients_of_silence_are_zero(case):
    transform = transform_of("dense", CASES[case])
    trained = ("waveform", "basis", *(("mel",) if "n_mels" in CASES[case] else ()))
    chain, leaves = chain_and_weights(transform, torch.float32, trained)
    padded = padded_for(transform, torch.zeros(2, 200))
    for gradient in gradients(RUN["dense"], padded, chain, leaves, trained).values():
        assert (gradient == 0).all()


def test_two_runs_give_the_same_gradients_to_the_last_bit():
    transform = transform_of("dense", CASES["mel in dB"])
    padded = padded_for(transform, noise(2, 301))
    trained = ("waveform", "basis", "mel")
    first, second = (
        gradients(
            RUN["dense"], padded, *chain_and_weights(transform, torch.float32, trained), trained
        )
        for _ in range(2)
    )
    for name in trained:
        assert torch.equal(first[name], second[name])


def test_a_waveform_gradient_does_not_depend_on_the_batch():
    transform = transform_of("dense", CASES["mel in dB"])
    chain, _ = chain_and_weights(transform, torch.float32, ())
    waveform = noise(4, 300)
    waveform[2] = math.nan
    padded = padded_for(transform, waveform)

    def gradient(batch):
        batch = batch.clone().requires_grad_()
        RUN["dense"](batch, chain).sum().backward()
        return batch.grad

    together = gradient(padded)
    for items in ([0], [3, 1]):
        assert torch.equal(together[items], gradient(padded[items]))


@pytest.mark.parametrize(("case", "n_copies"), [("mel in dB", 1), ("power in dB", 0)])
def test_nothing_but_inputs_and_logarithms_of_bands_is_kept(case, n_copies):
    transform = transform_of("dense", LOGARITHMS[case])
    chain, leaves = chain_and_weights(transform, torch.float32, ("basis",))
    padded = padded_for(transform, noise(2, 501))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        spec = RUN["dense"](padded, chain)
    known = {tensor.data_ptr() for tensor in (padded, *leaves.values())}
    others = [tensor for tensor in kept if tensor.data_ptr() not in known]
    assert len(others) == n_copies
    assert all(torch.equal(other, spec) for other in others)
