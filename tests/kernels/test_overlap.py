"""Products of frames that share samples: the same numbers, in fewer multiplications."""

import pytest
import torch

from specctl.kernels import overlap, recompute
from specctl.kernels.overlap import Overlap, add_gradient, fill_products
from specctl.transforms import MelSpectrogram, Spectrogram
from tests.dsp.signals import noise, signals

# float64 sums of a few hundred terms of size 1 to 10
EXACT = {"rtol": 0, "atol": 1e-11}

CUTS = [
    *[(256, 64, 4), (256, 32, 4), (256, 4, 4), (192, 48, 2), (256, 128, 2)],
    # with a rest
    *[(400, 160, 2), (300, 70, 4), (290, 72, 4), (600, 250, 2), (401, 50, 4)],
]


@pytest.fixture(params=[2**11, 2**19], ids=["few rows", "all rows"])
def rows_at_once(request, monkeypatch):
    """Ten rows at once, or one or two."""
    monkeypatch.setattr(overlap, "_CACHE_BYTES", request.param)


@pytest.fixture
def any_piece(monkeypatch):
    """Let frames be cut however short the pieces are."""
    monkeypatch.setattr(overlap, "_MIN_PIECE", 1)


def case(n_fft, hop_length, n_frames):
    cut = Overlap.of(n_fft, hop_length, n_frames)
    padded = cut.padded(n_frames)
    samples = noise((padded - 1) * hop_length + n_fft).double()
    basis = noise(10, n_fft).double()
    return cut, padded, samples, basis


@pytest.mark.parametrize(("n_fft", "hop_length", "parts"), CUTS)
def test_products_are_those_of_every_frame_with_every_row(n_fft, hop_length, parts, rows_at_once):
    cut, padded, samples, basis = case(n_fft, hop_length, 2000)
    assert cut.parts == parts
    out = torch.full((10, padded), float("nan"), dtype=torch.float64)
    fill_products(cut, basis, cut.differences(samples, padded), out)
    expected = basis @ samples.unfold(0, n_fft, hop_length).T
    torch.testing.assert_close(cut.natural(out), expected, **EXACT)


@pytest.mark.parametrize(("n_fft", "hop_length", "parts"), CUTS)
def test_the_gradient_in_the_basis_is_that_of_plain_products(
    n_fft, hop_length, parts, rows_at_once
):
    cut, padded, samples, basis = case(n_fft, hop_length, 2000)
    total = torch.zeros_like(basis)
    gradient = noise(10, padded).double()
    n_blocks = 0
    for first, n in cut.blocks(2000, 1024):
        block = cut.arranged(gradient[:, first : first + n])
        add_gradient(cut, block, cut.differences(samples[first * hop_length :], n), total)
        n_blocks += 1
    assert n_blocks > 1
    expected = gradient @ samples.unfold(0, n_fft, hop_length)
    torch.testing.assert_close(total, expected, **EXACT)


@pytest.mark.parametrize(("n_fft", "hop_length", "parts"), CUTS)
def test_columns_of_the_exact_cut_are_put_as_the_finer_one_has_them(n_fft, hop_length, parts):
    cut, padded, samples, basis = case(n_fft, hop_length, 2000)
    outs = []
    for each in (cut.exact, cut):
        outs.append(torch.empty((10, padded), dtype=torch.float64))
        fill_products(each, basis, each.differences(samples, padded), outs[-1])
    torch.testing.assert_close(cut.refined(outs[0]), outs[1], **EXACT)


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "n_frames"),
    [
        (101, 50, 1000),
        (256, 200, 1000),  # no two pieces in a frame
        (512, 80, 10),  # 40 frames beside ten that are wanted
        (64, 16, 1000),  # pieces too short for a fast product
        (1024, 256, 9),  # 23 frames of nothing beside nine
    ],
)
def test_frames_that_gain_nothing_are_not_cut(n_fft, hop_length, n_frames):
    assert Overlap.of(n_fft, hop_length, n_frames) is None


@pytest.mark.parametrize("n_frames", [32, 33, 511, 513, 5000])
def test_blocks_are_whole_and_cover_all_frames_once(n_frames):
    cut = Overlap(1024, 256, 4, 1)
    end = 0
    for first, n in cut.blocks(n_frames, 512):
        assert first == end
        assert n > 0
        assert n % cut.group == 0
        end += n
    assert end == cut.padded(n_frames) < n_frames + cut.group


@pytest.mark.parametrize("kept", [0, 2**24])
@pytest.mark.parametrize(
    ("hop_length", "power", "pad_mode"),
    [(4, 2.0, "constant"), (2, 1.5, "reflect"), (8, 1.0, "edge"), (1, 0.7, "constant")],
)
@pytest.mark.parametrize("scale", ["none", "db"])
def test_gradients_are_true_derivatives(
    hop_length, power, pad_mode, scale, kept, any_piece, rows_at_once, monkeypatch
):
    monkeypatch.setattr(recompute, "_KEPT_BYTES", kept)
    n_samples = 16 + 60 * hop_length
    settings = {"pad_mode": pad_mode, "power": power, "scale": scale, "center": hop_length != 4}
    transform = MelSpectrogram(
        sample_rate=8000,
        n_fft=16,
        hop_length=hop_length,
        n_mels=4,
        trainable=("basis", "mel"),
        **settings,
    ).double()
    assert Overlap.of(16, hop_length, transform.config.n_frames(n_samples)) is not None
    waveform = 10 * noise(2, n_samples).double()
    start = [
        (weight + 0.05 * noise(*weight.shape).abs()).detach().requires_grad_()
        for weight in (transform.basis, transform.mel)
    ]

    def values(basis, mel):
        return torch.func.functional_call(transform, {"basis": basis, "mel": mel}, (waveform,))

    assert torch.autograd.gradcheck(values, tuple(start), fast_mode=True)


LIMITS = ((-60, 0.001), (-80, 0.01))
"""dB below the peak of a clip, and how far levels above may be off: those of conversion."""


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "n_mels"),
    [
        (1024, 256, 128),
        (2048, 512, 40),
        # with a rest
        *[(400, 160, 40), (1024, 300, 128)],
    ],
)
def test_decibels_while_training_are_as_exact_as_in_conversion(n_fft, hop_length, n_mels):
    for name, samples in signals(22050, 3 * 22050).items():
        waveform = torch.from_numpy(samples)
        settings = {"n_fft": n_fft, "hop_length": hop_length, "n_mels": n_mels, "scale": "db"}
        single, double = (
            MelSpectrogram(trainable=("basis",), **settings).to(dtype)
            for dtype in (torch.float32, torch.float64)
        )
        assert Overlap.of(n_fft, hop_length, single.config.n_frames(len(waveform))) is not None
        spec = single(waveform)
        assert spec.requires_grad
        exact = double(waveform.double())
        for level, limit in LIMITS:
            loud = exact >= exact.max() + level
            assert (spec.double() - exact)[loud].abs().max() <= limit, (name, level)


# float32 products of 256 samples, and sums of as many as five of them for one
ROUNDING = 3e-6


@pytest.mark.parametrize("kept", [0, 2**24])
@pytest.mark.parametrize("hop_length", [16, 64, 128])
@pytest.mark.parametrize("n_samples", [9000, 12_345])
def test_single_precision_gradients_are_those_of_float64(hop_length, n_samples, kept, monkeypatch):
    monkeypatch.setattr(recompute, "_KEPT_BYTES", kept)
    waveform = noise(3, n_samples)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        transform = Spectrogram(n_fft=256, hop_length=hop_length, trainable=("basis",)).to(dtype)
        transform(waveform.to(dtype)).mul(0.5).sum().backward()
        gradients.append(transform.basis.grad.double())
    single, double = gradients
    assert (single - double).norm() <= ROUNDING * double.norm()


@pytest.mark.parametrize("hop_length", [64, 100])
def test_a_graph_that_is_kept_gives_the_same_gradient_twice(hop_length):
    transform = Spectrogram(n_fft=256, hop_length=hop_length, trainable=("basis",))
    loss = transform(noise(2, 9000)).square().sum()
    (first,) = torch.autograd.grad(loss, transform.basis, retain_graph=True)
    (again,) = torch.autograd.grad(loss, transform.basis)
    assert torch.equal(first, again)


# pieces are sums of two or four, so two bits of 24 may be lost
LOST = 4


def test_gradients_of_decibels_in_quiet_bins_lose_two_bits_at_most(monkeypatch):
    """Bins 100 dB below others, whose decibels have steep gradients."""
    time = torch.arange(22050) / 22050
    waveform = 0.5 * torch.sin(2 * torch.pi * 997 * time) + 5e-5 * noise(22050)

    def gradient(dtype, kept):
        monkeypatch.setattr(recompute, "_KEPT_BYTES", kept)
        transform = MelSpectrogram(n_fft=1024, n_mels=80, trainable=("basis",)).to(dtype)
        transform(waveform.to(dtype)).square().mean().backward()
        return transform.basis.grad.double()

    exact = gradient(torch.float64, 0)
    # kept products are those of the forward pass, which computes every frame by itself
    plain, shared = ((gradient(torch.float32, kept) - exact).norm() for kept in (2**24, 0))
    assert shared <= LOST * plain
    assert plain <= 1e-2 * exact.norm()


def test_the_same_step_gives_the_same_bits():
    gradients = []
    for _ in range(2):
        transform = MelSpectrogram(n_fft=256, hop_length=64, n_mels=8, trainable=("basis",))
        transform(noise(2, 30_000)).square().sum().backward()
        gradients.append(transform.basis.grad)
    assert torch.equal(*gradients)


def test_a_waveform_and_a_basis_get_their_gradients_together():
    alone, together = (
        MelSpectrogram(n_fft=256, hop_length=64, n_mels=8, trainable=("basis",)) for _ in range(2)
    )
    waveform = noise(2, 9000)
    alone(waveform).sum().backward()
    together(waveform.requires_grad_()).sum().backward()
    torch.testing.assert_close(
        together.basis.grad, alone.basis.grad, rtol=0, atol=float(1e-5 * alone.basis.grad.norm())
    )
    assert waveform.grad.abs().max() > 0
