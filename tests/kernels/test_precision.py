import threading
import warnings

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from specctl.config import SpectrogramConfig
from specctl.errors import KernelError
from specctl.kernels.precision import matmul_precision, product
from specctl.transforms import MelSpectrogram, Spectrogram, Transform
from tests.dsp.signals import noise

from .test_laws import KERNEL_NAMES

HAS_SWITCHES = hasattr(torch.backends.cuda.matmul, "fp32_precision")
needs_switches = pytest.mark.skipif(
    not HAS_SWITCHES, reason="this torch has no switch for each library"
)
PRODUCTS = (torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm)


@pytest.fixture
def medium():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def switches():
    """The process's switches, all at TF32."""
    if not HAS_SWITCHES:
        pytest.skip("this torch has no switch for each library")
    owners = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [owner.fp32_precision for owner in owners]
    for owner in owners:
        owner.fp32_precision = "tf32"
    yield owners
    for owner, value in zip(owners, before, strict=True):
        owner.fp32_precision = value


def log_mel(kernel):
    return MelSpectrogram(n_fft=256, hop_length=100, n_mels=20, kernel=kernel)


@pytest.mark.parametrize("kernel", KERNEL_NAMES)
@pytest.mark.parametrize("gradients", [False, True])
def test_numbers_do_not_follow_the_matmul_precision_of_the_process(kernel, gradients, request):
    waveform = noise(1, 4000).requires_grad_(gradients)
    plain = log_mel(kernel)(waveform)
    request.getfixturevalue("medium")
    assert torch.equal(log_mel(kernel)(waveform), plain)
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.parametrize("kernel", KERNEL_NAMES)
@pytest.mark.parametrize("gradients", [False, True])
def test_numbers_do_not_follow_the_switches_of_the_process(kernel, gradients, request):
    waveform = noise(1, 4000).requires_grad_(gradients)
    plain = log_mel(kernel)(waveform)
    owners = request.getfixturevalue("switches")
    assert torch.equal(log_mel(kernel)(waveform), plain)
    assert [owner.fp32_precision for owner in owners] == ["tf32", "tf32"]


@pytest.mark.parametrize("kernel", KERNEL_NAMES)
def test_gradients_do_not_follow_the_matmul_precision_of_the_process(kernel, request):
    def gradient():
        waveform = noise(1, 2000).requires_grad_()
        log_mel(kernel)(waveform).sum().backward()
        return waveform.grad

    plain = gradient()
    request.getfixturevalue("medium")
    assert torch.equal(gradient(), plain)


def test_the_switches_come_back_when_the_block_fails(medium):
    with pytest.raises(ZeroDivisionError), matmul_precision("fp32"):
        _ = 1 / 0
    assert torch.get_float32_matmul_precision() == "medium"


@needs_switches
def test_tf32_is_switched_on_for_the_block_only():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    with matmul_precision("tf32"):
        assert matmul.fp32_precision == "tf32"
    assert matmul.fp32_precision == before


def test_normalised_energy_has_no_products_that_would_follow_the_process():
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.overloadpacket in PRODUCTS:
                seen.append(func)
            return func(*args, **(kwargs or {}))

    transform = MelSpectrogram(n_fft=256, n_mels=20, scale="pcen", trainable="pcen")
    with Watch():
        transform(noise(2, 8000)).sum().backward()
    assert not seen


@needs_switches
def test_a_switch_for_everything_is_followed_afterwards_too():
    owners = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [torch.backends.fp32_precision, *(owner.fp32_precision for owner in owners)]
    for owner in owners:
        owner.fp32_precision = "none"
    try:
        for everywhere in ("tf32", "ieee"):
            torch.backends.fp32_precision = everywhere
            with matmul_precision("fp32"):
                assert [owner.fp32_precision for owner in owners] == ["ieee", "ieee"]
            assert [owner.fp32_precision for owner in owners] == [everywhere, everywhere]
    finally:
        for owner, value in zip((torch.backends, *owners), before, strict=True):
            owner.fp32_precision = value


@pytest.mark.parametrize("other", ["fp32", "tf32"])
def test_a_thread_that_leaves_does_not_switch_for_those_that_are_inside(other, switches):
    entered, follows, left = (threading.Event() for _ in range(3))

    def enter_and_leave():
        with matmul_precision(other):
            entered.set()
            follows.wait()
        left.set()

    thread = threading.Thread(target=enter_and_leave)
    thread.start()
    entered.wait()
    with matmul_precision("fp32"):
        assert [owner.fp32_precision for owner in switches] == ["ieee", "ieee"]
        follows.set()
        left.wait()
        assert [owner.fp32_precision for owner in switches] == ["ieee", "ieee"]
    thread.join()
    assert [owner.fp32_precision for owner in switches] == ["tf32", "tf32"]


@pytest.mark.parametrize("kernel", KERNEL_NAMES)
@pytest.mark.parametrize("gradients", [False, True])
def test_autocast_does_not_change_numbers(kernel, gradients):
    waveform = noise(1, 4000).requires_grad_(gradients)
    plain = log_mel(kernel)(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(log_mel(kernel)(waveform), plain)


def test_autocast_does_not_change_normalised_energy():
    transform = MelSpectrogram(
        sample_rate=8000, n_fft=256, hop_length=100, n_mels=20, scale="pcen"
    )
    waveform = noise(2, 4000)
    plain = transform(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(transform(waveform), plain)


def test_autocast_does_not_change_cepstral_coefficients():
    settings = {"n_fft": 256, "n_mels": 20, "n_mfcc": 13, "feature": "mfcc"}
    transform = Transform.from_config(SpectrogramConfig.resolve(**settings))
    waveform = noise(1, 4000)
    plain = transform(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(transform(waveform), plain)


def test_bf16_runs_on_a_cpu_and_costs_digits():
    waveform = noise(1, 4000)
    settings = {"feature": "magnitude", "n_fft": 256, "kernel": "conv"}
    exact = Spectrogram(**settings)(waveform)
    rough = Spectrogram(**settings, precision="bf16")(waveform)
    assert rough.dtype == torch.float32
    off = (exact - rough).abs().max() / exact.max()
    # bf16 has 8 bits; the rounding of 256 products averages out
    assert 1e-5 < off < 1e-2


def test_bf16_gives_the_same_numbers_with_and_without_gradients():
    transform = MelSpectrogram(n_fft=256, n_mels=20, kernel="conv", precision="bf16")
    waveform = noise(1, 4000)
    without = transform(waveform)
    with_gradients = transform(waveform.clone().requires_grad_())
    # where a sum in another order rounds to the next bf16 number, in dB
    torch.testing.assert_close(without, with_gradients, atol=0.1, rtol=0)


def test_tf32_is_refused_on_a_cpu():
    with pytest.raises(
        KernelError, match="kernel 'conv' precision 'tf32' runs on cuda, not on cpu"
    ):
        Spectrogram(kernel="conv", precision="tf32")


@pytest.mark.parametrize("shape", [(3, 8), (2, 3, 8), (8,)])
def test_product_is_over_the_last_dimension(shape):
    left, right = noise(*shape), noise(5, 8, seed=1)
    torch.testing.assert_close(product(left, right, "fp32"), left @ right.T)


def test_no_warning_about_old_and_new_switches(medium):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_mel("conv")(noise(1, 1000))
