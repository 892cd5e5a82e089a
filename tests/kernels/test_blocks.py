import pytest
import torch

from specctl.config import SpectrogramConfig
from specctl.kernels import blocks
from specctl.kernels.blocks import block_frames, raised
from specctl.kernels.buffers import Buffers
from specctl.transforms import MelSpectrogram, Transform, transform_for
from tests.dsp.signals import noise

from .test_laws import CPU, KERNEL_NAMES

# float32 sums of the same products in another order
SUM_TOLERANCE = 2e-6
# tens of times the largest block
MANY_MEGABYTES = 200

LONG = {
    "complex": {"feature": "complex", "n_fft": 1024, "hop_length": 101},
    "power": {"feature": "power", "n_fft": 1000, "hop_length": 77, "win_length": 999},
    "mel": {"n_fft": 1024, "hop_length": 97, "n_mels": 80},
    "small mel": {"n_fft": 100, "hop_length": 33, "n_mels": 20},
}


def waveform_of(config, n_frames):
    return noise(1, config.n_fft + (n_frames - 1) * config.hop_length)


def tile(padded, config, first, last):
    start = first * config.hop_length
    return padded[:, start : start + (last - first - 1) * config.hop_length + config.n_fft]


@pytest.mark.parametrize("settings", LONG.values(), ids=LONG)
@pytest.mark.parametrize("kernel", KERNEL_NAMES)
def test_a_tile_of_whole_blocks_has_the_numbers_of_the_whole_to_the_last_bit(settings, kernel):
    config = SpectrogramConfig.resolve(**settings)
    transform = transform_for(config, kernel=kernel)
    block = block_frames(config.n_fft, CPU)
    n_frames = 3 * block + block // 3
    padded = waveform_of(config, n_frames)
    whole = transform.run(padded)
    for first, last in ((0, block), (block, 3 * block), (3 * block, n_frames)):
        part = transform.run(tile(padded, config, first, last).clone())
        assert torch.equal(part, whole[..., first:last])


@pytest.mark.parametrize("kernel", KERNEL_NAMES)
def test_another_default_device_is_not_that_of_reused_memory(kernel, monkeypatch):
    monkeypatch.setattr(blocks, "_BUFFERS", Buffers())
    transform = transform_for(SpectrogramConfig.resolve(**LONG["mel"], power=1.5), kernel=kernel)
    padded = noise(2, 5000)
    wanted = transform.run(padded)
    monkeypatch.setattr(blocks, "_BUFFERS", Buffers())
    with torch.device("meta"):
        assert torch.equal(transform.run(padded), wanted)


@pytest.mark.parametrize("name", ["mel", "window"])
def test_a_weight_that_was_changed_before_it_is_used_again_is_noticed(name, monkeypatch):
    monkeypatch.setitem(blocks._KEPT_VALUES, "cpu", 1)
    transform = MelSpectrogram(n_fft=64, n_mels=5, trainable=(name,))
    spec = transform(noise(2, 3000))
    with torch.no_grad():
        getattr(transform, name).mul_(3)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        spec.sum().backward()


@pytest.mark.parametrize("settings", LONG.values(), ids=LONG)
@pytest.mark.parametrize("n_values", [1, 5000, 40_000])
def test_gradients_that_are_taken_in_pieces_are_those_of_the_whole(
    settings, n_values, monkeypatch
):
    config = SpectrogramConfig.resolve(**settings)
    waveform = noise(3, config.n_fft + 30 * config.hop_length)
    found = []
    for kept in (2**40, n_values):
        monkeypatch.setitem(blocks._KEPT_VALUES, "cpu", kept)
        monkeypatch.setitem(blocks._PIECE_VALUES, "cpu", kept)
        trainable = ("window", "mel") if config.feature == "mel" else ("window",)
        transform = Transform.from_config(config, kernel="fft", trainable=trainable)
        source = waveform.clone().requires_grad_()
        spec = transform(source)
        spec.abs().square().sum().backward()
        found.append([spec.detach(), source.grad, *(each.grad for each in transform.parameters())])
    assert len(found[0]) == 2 + len(trainable)
    for whole, pieces in zip(*found, strict=True):
        assert (whole - pieces).abs().max() <= SUM_TOLERANCE * whole.abs().max()


@pytest.mark.parametrize("n_fft", [2, 3, 16, 100, 101, 4096])
@pytest.mark.parametrize("kernel", KERNEL_NAMES)
def test_blocks_are_joined_without_a_seam(n_fft, kernel):
    config = SpectrogramConfig.resolve(feature="power", n_fft=n_fft, hop_length=7)
    transform = transform_for(config, kernel=kernel)
    block = block_frames(n_fft, CPU)
    padded = waveform_of(config, block + 2)
    whole = transform.run(padded)
    seam = transform.run(tile(padded, config, block - 1, block + 1))
    off = (whole[..., block - 1 : block + 1] - seam).abs()
    assert off.max() <= SUM_TOLERANCE * seam.max()


def test_transforms_of_the_greatest_length_work():
    config = SpectrogramConfig.resolve(feature="power", n_fft=2**16, hop_length=30_000)
    waveform = noise(100_001)
    expected = torch.stft(
        waveform.double(),
        2**16,
        30_000,
        window=torch.hann_window(2**16, dtype=torch.float64),
        pad_mode="constant",
        return_complex=True,
    )
    spec = transform_for(config, kernel="fft")(waveform)
    wanted = expected.abs().square()
    # float32 over sixteen stages of an FFT
    assert (spec - wanted).abs().max() <= 2e-6 * wanted.max()


@pytest.mark.parametrize("n_fft", [2, 100, 1024, 65536, 2**20])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_frames_of_a_block_are_bounded_in_memory(n_fft, kind):
    frames = block_frames(n_fft, torch.device(kind))
    assert frames >= 1
    assert frames == 1 or 4 * n_fft * frames <= MANY_MEGABYTES * 2**20


@pytest.mark.parametrize("exponent", [0.25, 0.5, 0.75])
def test_a_power_below_one_has_gradient_zero_at_zero(exponent):
    power = torch.tensor([0.0, 4.0], requires_grad=True)
    raised(power, exponent).sum().backward()
    assert power.grad[0] == 0
    assert power.grad[1] == pytest.approx(exponent * 4 ** (exponent - 1))


def test_memory_of_a_long_waveform_is_bounded_by_its_result():
    from torch.profiler import ProfilerActivity, profile

    config = SpectrogramConfig.resolve(n_fft=512, hop_length=64, n_mels=8)
    transform = transform_for(config, kernel="fft")
    padded = waveform_of(config, 20_000)
    transform.run(padded)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        spec = transform.run(padded)
    peak = held = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    block_bytes = 8 * 1024 * 257
    assert peak <= spec.nbytes + 2 * block_bytes
