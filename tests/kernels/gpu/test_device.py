"""The gate of a real GPU: nothing is timed there before this passes."""

import math

import pytest
import torch

from specctl.config import SpectrogramConfig
from specctl.dsp.reference import reference_spectrogram
from specctl.kernels import gpu
from specctl.transforms import Transform, transform_for
from tests.dsp.signals import noise, signals

from . import chains

CUDA = torch.device("cuda")
PROBLEM = gpu.problem(CUDA) if torch.cuda.is_available() else "this machine has no CUDA device"
pytestmark = pytest.mark.skipif(PROBLEM is not None, reason=f"kernels for GPUs: {PROBLEM}")

KERNELS = ("fft", "fold", "conv")
SPEECH = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160}
SHORT = {"sample_rate": 16000, "n_fft": 512, "hop_length": 128}
MUSIC = {"sample_rate": 22050, "n_fft": 1024, "hop_length": 256}
FULL = {"sample_rate": 44100, "n_fft": 2048, "hop_length": 512}
CASES = {
    "400, 80 bands": {**SPEECH, "n_mels": 80},
    "512, 64 bands": {**SHORT, "n_mels": 64},
    "1024, 80 bands": {**MUSIC, "n_mels": 80},
    "2048, 128 bands": {**FULL, "n_mels": 128},
    "400, complex": {**SPEECH, "feature": "complex"},
    "1024, complex": {**MUSIC, "feature": "complex"},
    "512, magnitude, reflect": {**SHORT, "feature": "magnitude", "pad_mode": "reflect"},
    "1000, power": {"n_fft": 1000, "hop_length": 333, "feature": "power", "win_length": 801},
    "101, power": {"n_fft": 101, "hop_length": 33, "feature": "power"},
    "100, uneven power": {"n_fft": 100, "hop_length": 30, "n_mels": 20, "power": 1.5},
}
KERNEL_CASES = [
    pytest.param(kernel, settings, id=f"{kernel}-{case}")
    for kernel in KERNELS
    for case, settings in CASES.items()
    if kernel != "fold" or (settings["n_fft"] % 4 == 0 and settings["n_fft"] <= 512)
]
every_kernel_and_case = pytest.mark.parametrize(("kernel", "settings"), KERNEL_CASES)

# float32 carries 24 bits; tensor cores cut off where a processor rounds
LINEAR_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch):
    # torch fills what it takes anew with NaN in this mode, in which some versions of it refuse
    # products unless this is set
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def on_gpu(kernel, settings, **options):
    with CUDA:
        config = SpectrogramConfig.resolve(**settings)
        return Transform.from_config(config, kernel=kernel, **options).to(CUDA)


def linear(settings):
    return {**settings, "scale": "none"}


@every_kernel_and_case
@pytest.mark.parametrize("n_samples", [37, 50_001])
def test_equals_the_float64_reference(kernel, settings, n_samples):
    waveform = noise(3, n_samples)
    waveform[1] *= 1e-3
    waveform[2] *= 1000
    transform = on_gpu(kernel, linear(settings))
    spec = transform(waveform.to(CUDA)).cpu()
    wanted = reference_spectrogram(waveform, transform.config)
    assert spec.shape == wanted.shape
    peak = wanted.abs().amax(dim=(-2, -1), keepdim=True)
    assert ((spec - wanted).abs() <= LINEAR_TOLERANCE * peak).all()


@every_kernel_and_case
@pytest.mark.parametrize("signal", ["speech", "music", "16 bit", "quiet"])
def test_the_contract_holds_on_sound(kernel, settings, signal):
    settings = linear(settings)
    if settings.get("feature") == "complex":
        settings["feature"] = "power"
    transform = on_gpu(kernel, settings)
    rate = transform.config.sample_rate
    waveform = torch.as_tensor(signals(rate, 2 * rate)[signal], dtype=torch.float32)[None]
    wanted = reference_spectrogram(waveform, transform.config)
    got = transform(waveform.to(CUDA)).cpu().double()
    decibels = 20 / transform.config.power
    level = decibels * torch.log10(wanted / wanted.max())
    off = decibels * torch.log10(got / wanted).abs()
    assert off[level >= -80].max() <= 0.01
    if "n_mels" in settings:
        assert ((got - wanted).abs() / wanted)[level >= -40].max() <= 1e-4


@every_kernel_and_case
def test_an_item_is_the_same_to_the_last_bit_in_any_batch_and_run(kernel, settings):
    transform = on_gpu(kernel, settings)
    waveform = noise(5, 12_345)
    waveform[1] *= 1000
    waveform[2] = 0
    waveform[3] = math.nan
    waveform = waveform.to(CUDA)
    together = transform(waveform)
    for item in (0, 1, 2, 4):
        assert torch.equal(together[item], transform(waveform[item]))
    assert torch.equal(together[:3], transform(waveform)[:3])


def test_auto_takes_what_is_fastest_on_a_gpu():
    assert on_gpu("auto", CASES["400, 80 bands"]).kernel_name == "fold"
    assert on_gpu("auto", CASES["1024, 80 bands"]).kernel_name == "fft"


@pytest.mark.parametrize("kernel", KERNELS)
def test_memory_does_not_grow_with_the_length(kernel):
    settings = {**SPEECH, "n_mels": 8}
    transform = on_gpu(kernel, settings)
    used = []
    for minutes in (20, 60):
        padded = torch.randn(1, minutes * 60 * 16000, device=CUDA)
        transform.run(padded)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        spec = transform.run(padded)
        used.append(torch.cuda.max_memory_allocated() - before - spec.nbytes)
        del padded, spec
    assert used[1] <= used[0] + 2**20
    assert used[1] <= 256 * 2**20


def same_on_both(settings, trained, precision):
    """Gradients of the dense kernel on a GPU, and in plain float64."""
    transform = chains.transform_of("dense", settings)
    waveform = noise(3, 40_001)
    waveform[1] *= 0.03
    padded = chains.padded_for(transform, waveform)
    exact, leaves = chains.chain_and_weights(transform, torch.float64, trained)
    wanted = chains.gradients(chains.plain_chain, padded, exact, leaves, trained)
    moved = on_gpu("conv", settings, precision=precision)
    chain, leaves = chains.chain_and_weights(moved, torch.float32, trained)
    got = chains.gradients(gpu.run_dense, padded.to(CUDA), chain, leaves, trained)
    return got, wanted


@pytest.mark.parametrize("case", ["400, 80 bands", "1024, 80 bands", "100, uneven power"])
def test_dense_gradients_are_those_of_float64(case):
    trained = ("waveform", "basis", "mel")
    got, wanted = same_on_both(CASES[case], trained, "fp32")
    for name in trained:
        off = (got[name].cpu() - wanted[name]).abs().max()
        assert off <= GRADIENT_TOLERANCE * wanted[name].abs().max()


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_cheaper_gradients_of_a_power_point_the_same_way(precision):
    settings = {**MUSIC, "feature": "power"}
    got, wanted = same_on_both(settings, ("basis",), precision)
    similar = torch.cosine_similarity(
        got["basis"].cpu().double().flatten(), wanted["basis"].flatten(), dim=0
    )
    assert similar > 0.9999


def test_two_training_steps_give_the_same_gradients_to_the_last_bit():
    waveform = noise(4, 30_000).to(CUDA)
    found = []
    for _ in range(2):
        transform = on_gpu("auto", CASES["1024, 80 bands"], trainable=("basis", "mel"))
        transform(waveform).square().mean().backward()
        found.append((transform.basis.grad, transform.mel.grad))
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
        assert torch.isfinite(first).all()


def test_gradients_of_silence_are_zero():
    transform = on_gpu("auto", CASES["1024, 80 bands"], trainable=("basis",))
    transform(torch.zeros(2, 9000, device=CUDA)).sum().backward()
    assert (transform.basis.grad == 0).all()


@pytest.mark.parametrize("kernel", ["fft", "conv"])
def test_float64_stays_float64(kernel):
    settings = linear(CASES["1024, 80 bands"])
    waveform = noise(1, 9000).double()
    transform = on_gpu(kernel, settings).double()
    spec = transform(waveform.to(CUDA)).cpu()
    wanted = transform_for(transform.config, kernel=kernel).double()(waveform)
    torch.testing.assert_close(spec, wanted, rtol=1e-10, atol=1e-12)
