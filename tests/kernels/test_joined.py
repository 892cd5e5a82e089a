"""Many short clips in one product: the numbers of each alone, in no more products than needed."""

import pytest
import torch

from specctl.kernels import conv, joined, recompute
from specctl.transforms import MelSpectrogram, Spectrogram
from tests.dsp.signals import noise

SETTINGS = {"sample_rate": 8000, "n_fft": 256, "n_mels": 20}
N_CLIPS = 37

CLIPS = {
    "a frame each": (64, 255, {"center": False}),
    "shorter than a frame": (64, 100, {"pad_mode": "reflect"}),
    "of one sample": (100, 1, {"pad_mode": "edge"}),
    "of odd length": (100, 777, {}),
    "that share pieces": (64, 64 * 21 + 5, {}),
    "that share halves, with a rest": (120, 120 * 14 + 3, {"power": 1.0}),
    "with more behind their frames": (64, 256 + 64 * 20 + 63, {"center": False}),
    "of an uneven power": (64, 64 * 21 + 5, {"power": 1.5}),
}
every_clip = pytest.mark.parametrize(
    ("hop_length", "n_samples", "settings"), CLIPS.values(), ids=CLIPS
)

# float32 sums of the same products in another order
GRADIENT_TOLERANCE = 2e-5


@pytest.fixture(params=[True, False], ids=["joined", "one by one"])
def is_joined(request, monkeypatch):
    """Whether products are tried, or taken for those of a library where this changes bits."""
    monkeypatch.setattr(joined, "_TRIED", {})
    if not request.param:
        monkeypatch.setattr(joined, "_are_same_alone", lambda *_: False)
    return request.param


def clips_of(n_samples, settings):
    n_samples += settings.get("center") is False and n_samples < SETTINGS["n_fft"]
    return noise(N_CLIPS, n_samples)


def front_end(hop_length, settings, trainable=("basis",)):
    return MelSpectrogram(**SETTINGS, hop_length=hop_length, **settings, trainable=trainable)


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
@every_clip
def test_a_clip_is_the_same_to_the_last_bit_in_any_batch(hop_length, n_samples, settings, grad):
    transform = front_end(hop_length, settings)
    clips = clips_of(n_samples, settings)
    clips[1] *= 1000
    clips[2] = 0
    clips[3] = torch.nan
    with torch.set_grad_enabled(grad):
        together = transform(clips)
        for some in ([0], [4], [36], [2, 1], [5, 6, 7, 3], list(range(8, 30))):
            found, wanted = transform(clips[some]), together[some]
            assert torch.equal(found.nan_to_num(7), wanted.nan_to_num(7))


@pytest.mark.parametrize("kept", [0, 2**24])
@pytest.mark.parametrize("trainable", [("basis",), ("basis", "mel")])
@every_clip
def test_gradients_are_those_of_float64(
    hop_length, n_samples, settings, trainable, kept, is_joined, monkeypatch
):
    monkeypatch.setattr(recompute, "_KEPT_BYTES", kept)
    clips = clips_of(n_samples, settings)
    gradients = []
    for dtype, needs in ((torch.float32, False), (torch.float32, True), (torch.float64, True)):
        transform = front_end(hop_length, {"amin": 1e-4, **settings}, trainable).to(dtype)
        waveform = clips.to(dtype, copy=True).requires_grad_(needs)
        transform(waveform).square().mean().backward()
        found = [waveform.grad, *(weight.grad for weight in transform.parameters())]
        gradients.append([None if each is None else each.double() for each in found])
    *singles, double = gradients
    for single in singles:
        for got, wanted in zip(single, double, strict=True):
            if got is not None:
                assert (got - wanted).norm() <= GRADIENT_TOLERANCE * wanted.norm()


def test_samples_behind_the_last_frame_spoil_no_gradient():
    transform = front_end(64, {"center": False})
    clips = clips_of(256 + 64 * 20 + 63, {})
    clips[:, 256 + 64 * 20 :] = torch.nan
    transform(clips).mean().backward()
    assert torch.isfinite(transform.basis.grad).all()


@pytest.fixture
def always_joined(monkeypatch):
    """As with a library that was tried and found fit."""
    for module in (conv, recompute):
        monkeypatch.setattr(module, "are_joined", lambda *_, **__: True)


def count_calls(monkeypatch, module, name):
    calls = []
    function = getattr(module, name)

    def counted(*given):
        calls.append(name)
        return function(*given)

    monkeypatch.setattr(module, name, counted)
    return calls


@pytest.mark.parametrize(("n_clips", "n_products"), [(2, 1), (500, 1), (1025, 2), (4000, 4)])
@pytest.mark.usefixtures("one_thread", "always_joined")
def test_as_many_products_as_the_frames_need(n_clips, n_products, monkeypatch):
    transform = Spectrogram(n_fft=64, center=False, trainable=("basis",), kernel="conv")
    clips = noise(n_clips, 64)
    calls = count_calls(monkeypatch, conv, "product_into")
    with torch.no_grad():
        transform(clips)
    assert len(calls) == n_products
    calls.clear()
    sums = count_calls(monkeypatch, recompute.GradientSums, "add")
    transform(clips).mean().backward()
    assert len(calls) == n_products
    assert len(sums) == n_products


@pytest.mark.usefixtures("always_joined")
def test_clips_fill_all_threads(monkeypatch):
    monkeypatch.setattr(recompute, "n_side_by_side", lambda _: 4)
    transform = Spectrogram(n_fft=64, center=False, trainable=("basis",))
    calls = count_calls(monkeypatch, conv, "product_into")
    transform(noise(100, 64))
    assert len(calls) == 4


@pytest.mark.parametrize("changes", [False, True])
def test_what_is_tried_is_found_out(changes):
    def run(items):
        return items + len(items) * 1e-3 if changes else items + 1

    for trains in (False, True):
        assert joined._are_same_alone(run, noise(50, 3), trains) is not changes
