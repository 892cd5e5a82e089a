import pytest
import torch

from specctl.config import SpectrogramConfig
from specctl.errors import KernelError
from specctl.kernels.base import Demand
from specctl.kernels.registry import KERNELS, choose
from specctl.transforms import MelSpectrogram

CPU = torch.device("cpu")
CONFIG = SpectrogramConfig.resolve()


def chosen(name="auto", precision="fp32", has_trained_basis=False):
    trained = frozenset({"basis"} if has_trained_basis else ())
    return choose(name, Demand(CONFIG, CPU, precision, trained))


def test_takes_the_fft_for_a_fourier_basis():
    choice = chosen()
    assert choice.kernel.name == "fft"
    assert "an FFT gives the same numbers for less" in choice.reason


def test_takes_the_convolution_for_a_trained_basis():
    choice = chosen(has_trained_basis=True)
    assert choice.kernel.name == "conv"
    assert "this basis is trained" in choice.reason


def test_takes_the_convolution_for_a_precision_that_the_fft_has_not():
    choice = chosen(precision="bf16")
    assert choice.kernel.name == "conv"
    assert "fp32" in choice.reason


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_says_its_own_name(name):
    assert KERNELS[name].name == name


def test_takes_what_is_asked_for():
    assert chosen("conv").kernel.name == "conv"
    assert chosen("conv").reason == "asked for"


def test_an_unknown_kernel_is_refused_with_those_there_are():
    with pytest.raises(KernelError, match=r"kernel must be auto, .*fft .*conv.*, got 'ftt'"):
        chosen("ftt")


def test_the_fft_refuses_a_trained_basis():
    message = (
        "kernel 'fft' computes the Fourier basis only, this basis is trained.*available.*conv"
    )
    with pytest.raises(KernelError, match=message):
        MelSpectrogram(kernel="fft", trainable=("basis",))


def test_the_fft_refuses_other_precisions():
    with pytest.raises(KernelError, match="kernel 'fft' computes in fp32, not in bf16"):
        chosen("fft", precision="bf16")


def test_says_why_no_kernel_is_able():
    with pytest.raises(KernelError, match="kernel 'fft' computes in fp32.*kernel 'conv' .*tf32"):
        chosen(precision="tf32")
