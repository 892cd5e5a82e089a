"""Training through the dense kernel: what is kept, and gradients of every setting."""

import pytest
import torch

from specctl.kernels import recompute
from specctl.transforms import MelSpectrogram, Spectrogram
from tests.dsp.signals import noise

# every number of a basis is moved by itself
TINY = {"sample_rate": 8000, "n_fft": 8, "hop_length": 3}
BANDS = {**TINY, "n_mels": 4, "amin": 1e-6}


def kept_bytes(module, waveform):
    """What autograd keeps between the forward and the backward pass."""
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(waveform)
    return sum(kept.values())


@pytest.mark.parametrize(
    ("power", "pad_mode"),
    [
        (0.7, "constant"),
        (1.0, "reflect"),
        (1.5, "edge"),
        (2.0, "constant"),
        (2.0, "reflect"),
        (3.0, "edge"),
    ],
)
@pytest.mark.parametrize("scale", ["none", "db"])
def test_gradients_are_true_derivatives_for_every_exponent_and_padding(power, pad_mode, scale):
    settings = {**TINY, "n_mels": 4, "pad_mode": pad_mode, "power": power, "scale": scale}
    transform = MelSpectrogram(**settings, kernel="conv", trainable=("basis", "mel")).double()
    waveform = 10 * noise(2, 19).double()
    # a step away from zeros and symmetries, where one-sided derivatives differ
    start = [
        (weight + 0.05 * noise(*weight.shape).abs()).detach().requires_grad_()
        for weight in (transform.basis, transform.mel)
    ]

    def values(basis, mel, samples):
        weights = {"basis": basis, "mel": mel}
        return torch.func.functional_call(transform, weights, (samples,))

    assert torch.autograd.gradcheck(values, (*start, waveform.requires_grad_()))


@pytest.mark.parametrize("hop_length", [1, 8, 11])
def test_gradients_are_true_derivatives_for_steps_of_any_length(hop_length):
    settings = {**BANDS, "hop_length": hop_length, "center": False}
    transform = MelSpectrogram(**settings, kernel="conv").double()
    waveform = 10 * noise(2, 30).double()
    assert torch.autograd.gradcheck(transform, (waveform.requires_grad_(),))


# several threads may share out a product of an item alone, and sum otherwise
@pytest.mark.usefixtures("one_thread")
def test_numbers_are_the_same_to_the_last_bit_with_and_without_gradients():
    transform = MelSpectrogram(**BANDS, trainable=("basis", "mel"))
    waveform = noise(3, 20_000)
    with torch.no_grad():
        without = transform(waveform)
    assert torch.equal(transform(waveform), without)


@pytest.mark.parametrize("kept", [0, 2**24])
def test_gradients_of_many_blocks_are_those_of_float64(kept, monkeypatch):
    monkeypatch.setattr(recompute, "_KEPT_BYTES", kept)
    settings = {"sample_rate": 8000, "n_fft": 64, "hop_length": 3, "n_mels": 8}
    waveform = noise(2, 9000)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        transform = MelSpectrogram(**settings, trainable=("basis", "mel")).to(dtype)
        spec = transform(waveform.to(dtype))
        weights = torch.linspace(-1, 1, spec.numel(), dtype=dtype).reshape(spec.shape)
        (spec * weights).sum().backward()
        gradients.append([transform.basis.grad.double(), transform.mel.grad.double()])
    for single, double in zip(*gradients, strict=True):
        # 24 bits, summed over 6000 frames and divided by powers
        assert (single - double).abs().max() <= 1e-4 * double.abs().max()


@pytest.mark.parametrize("kept", [0, 2**24])
@pytest.mark.parametrize("n_fft", [600, 1000])
def test_gradients_are_those_of_float64_where_blocks_are_no_whole_columns(
    n_fft, kept, monkeypatch
):
    monkeypatch.setattr(recompute, "_KEPT_BYTES", kept)
    waveform = noise(1, 1500 * 300)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        transform = Spectrogram(n_fft=n_fft, hop_length=300, trainable=("basis",)).to(dtype)
        transform(waveform.to(dtype)).square().mean().backward()
        gradients.append(transform.basis.grad.double())
    single, double = gradients
    assert (single - double).norm() <= 1e-6 * double.norm()


@pytest.mark.parametrize("trainable", [("basis",), ("basis", "mel"), ("window", "mel")])
def test_nothing_as_large_as_the_spectrum_is_kept(trainable, monkeypatch):
    monkeypatch.setattr(recompute, "_KEPT_BYTES", 0)
    transform = MelSpectrogram(
        n_fft=256, hop_length=64, n_mels=8, kernel="conv", trainable=trainable
    )
    waveform = noise(4, 20_000)
    inputs = 4 * (waveform.numel() + 2 * 258 * 256 + 8 * 129)
    outputs = 4 * transform(waveform).numel()
    assert kept_bytes(transform, waveform) <= inputs + 2 * outputs


def test_keeping_the_products_of_small_batches_changes_no_bit(monkeypatch):
    waveform = noise(3, 5000)
    gradients = []
    for kept in (0, 2**24):
        monkeypatch.setattr(recompute, "_KEPT_BYTES", kept)
        transform = MelSpectrogram(**BANDS, trainable=("basis", "mel"))
        spec = transform(waveform)
        for _ in range(2):
            spec.square().sum().backward(retain_graph=True)
        gradients.append((spec.detach(), transform.basis.grad, transform.mel.grad))
    for without, with_kept in zip(*gradients, strict=True):
        assert torch.equal(without, with_kept)


def test_what_is_kept_is_bounded():
    transform = Spectrogram(n_fft=256, hop_length=8, trainable=("basis",))
    waveform = noise(8, 20_000)
    assert 4 * 8 * 2501 * 258 > 2**24
    assert kept_bytes(transform, waveform) <= 4 * (waveform.numel() + 258 * 256)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("scale", ["none", "db"])
def test_gradients_at_silence_are_finite(power, scale):
    floor = {} if scale == "none" else {"amin": 1e-10}
    settings = {**TINY, "n_mels": 4, "power": power, "scale": scale, **floor}
    transform = MelSpectrogram(**settings, trainable=("basis", "mel"))
    waveform = noise(2, 400)
    waveform[0] = 0
    waveform[1, :200] = 0
    waveform.requires_grad_()
    transform(waveform).sum().backward()
    for gradient in (transform.basis.grad, transform.mel.grad, waveform.grad):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0
    assert (waveform.grad[0] == 0).all()


def test_a_frozen_weight_gets_no_gradient():
    transform = MelSpectrogram(**BANDS, trainable=("mel",), kernel="conv")
    transform(noise(400)).sum().backward()
    assert transform.mel.grad is not None
    assert transform.basis.grad is None


def test_an_empty_batch_can_be_trained_on():
    transform = Spectrogram(**TINY, trainable=("basis",))
    transform(torch.zeros(0, 300)).sum().backward()
    assert (transform.basis.grad == 0).all()


# of torch, on its first look forward
@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("trainable", [(), ("basis",), ("frequencies",), ("basis", "mel")])
@pytest.mark.parametrize("scale", ["none", "db"])
def test_every_derivative_is_right(trainable, scale):
    settings = {**TINY, "n_mels": 4, "scale": scale, "pad_mode": "reflect"}
    transform = MelSpectrogram(**settings, trainable=trainable, kernel="conv").double()
    weights = dict(transform.named_parameters())

    def values(waveform, *given):
        named = dict(zip(weights, given, strict=True))
        return torch.func.functional_call(transform, named, (waveform,))

    # a step away from zeros and symmetries, where one-sided derivatives differ
    starts = [weight + 0.05 * noise(*weight.shape).abs() for weight in weights.values()]
    inputs = [each.detach().requires_grad_() for each in (10 * noise(2, 9).double(), *starts)]
    assert torch.autograd.gradcheck(values, inputs, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(values, inputs)


def test_a_gradient_penalty_is_that_of_torch():
    def with_penalty(transform, waveform):
        loss = transform(waveform).square().mean()
        (slope,) = torch.autograd.grad(loss, waveform, create_graph=True)
        (result,) = torch.autograd.grad(loss + slope.square().sum(), waveform)
        return result

    transforms = [Spectrogram(**TINY, kernel=kernel) for kernel in ("fft", "conv")]
    wanted, found = (with_penalty(each, noise(300).requires_grad_()) for each in transforms)
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_autocast_changes_no_number():
    waveform = noise(2, 400)
    gradients = []
    for enabled in (False, True):
        transform = Spectrogram(**TINY, trainable=("basis",))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            values = transform(waveform)
            assert values.dtype == torch.float32
            values.sum().backward()
        gradients.append(transform.basis.grad)
    assert torch.equal(*gradients)


def test_bands_whose_gradient_is_asked_for_later_get_it():
    settings = {**BANDS, "scale": "db"}
    waveform = noise(2, 3000)
    transform = MelSpectrogram(**settings, trainable=("basis",))
    transform(waveform)
    transform.mel.requires_grad_()
    (late,) = torch.autograd.grad(transform(waveform).mean(), transform.mel)
    whole = MelSpectrogram(**settings, trainable=("basis", "mel"))
    (wanted,) = torch.autograd.grad(whole(waveform).mean(), whole.mel)
    assert (late - wanted).abs().max() <= 1e-5 * wanted.abs().max()
