import re
import subprocess
import sys
from functools import cache
from subprocess import CalledProcessError

import pytest
import torch

from specctl.config import SpectrogramConfig
from specctl.errors import KernelError
from specctl.kernels import gpu
from specctl.kernels.base import Demand
from specctl.kernels.registry import choose
from specctl.transforms import MelSpectrogram

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def able(monkeypatch):
    """As if every device ran Triton."""
    monkeypatch.setattr(gpu, "problem", lambda device: None)


def chosen(name="auto", precision="fp32", trained=(), device=CPU, **settings):
    config = SpectrogramConfig.resolve(**settings)
    return choose(name, Demand(config, device, precision, frozenset(trained)))


@pytest.mark.parametrize("n_fft", [4, 400, 512])
def test_short_ffts_are_folded(able, n_fft):
    choice = chosen(n_fft=n_fft)
    assert choice.kernel.name == "fold"
    assert "tensor cores" in choice.reason


@pytest.mark.parametrize("n_fft", [510, 401, 516, 1024])
def test_other_ffts_are_not_folded(able, n_fft):
    assert chosen(n_fft=n_fft).kernel.name == "fft"
    with pytest.raises(KernelError, match=f"a multiple of 4 and at most 512, got {n_fft}; avail"):
        chosen("fold", n_fft=n_fft)


def test_a_trained_basis_is_not_folded(able):
    assert chosen(n_fft=400, trained=("basis",)).kernel.name == "conv"


def test_folding_is_as_exact_as_float32_or_not_done(able):
    with pytest.raises(KernelError, match="kernel 'fold' computes in fp32, not in tf32"):
        chosen("fold", n_fft=400, precision="tf32")


def test_folding_is_refused_without_a_gpu():
    message = (
        "kernel 'fold' needs a CUDA device and triton, this device is cpu; available here: fft"
    )
    with pytest.raises(KernelError, match=message):
        chosen("fold", n_fft=400)


@pytest.mark.parametrize(
    "error", [RuntimeError("Failed to find C compiler.\nMore."), CalledProcessError(1, ["gcc"])]
)
def test_without_what_triton_builds_its_launcher_with_torch_computes(monkeypatch, error):
    runtime = pytest.importorskip("triton.runtime")

    class Driver:
        @property
        def active(self):
            raise error

    monkeypatch.setattr(runtime, "driver", Driver())
    monkeypatch.setattr(gpu, "_launcher_problem", cache(gpu._launcher_problem.__wrapped__))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert chosen(device=CUDA, n_fft=400).kernel.name == "fft"
    message = f"needs a C compiler and Python's headers for triton: {str(error).split(chr(10))[0]}"
    with pytest.raises(KernelError, match=re.escape(message)):
        chosen("fold", device=CUDA, n_fft=400)


def test_a_cpu_without_the_interpreter_takes_no_waveform():
    assert not gpu.can_take(torch.zeros(1, 100))


def test_transforms_on_a_cpu_do_not_import_triton():
    code = (
        "import sys, torch\n"
        "from specctl.transforms import MelSpectrogram\n"
        "for kernel in ('auto', 'fft', 'conv'):\n"
        "    MelSpectrogram(n_fft=64, n_mels=8, kernel=kernel)(torch.zeros(1, 500))\n"
        "print('triton' in sys.modules)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_transform_says_why_it_is_not_folded():
    assert "FFT" in MelSpectrogram(n_fft=400).kernel_reason
