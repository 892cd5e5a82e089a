"""Which kernel a transform has, here and where it is moved to."""

import pytest
import torch

from specctl.errors import KernelError
from specctl.kernels.fold import FoldKernel
from specctl.transforms import MelSpectrogram, Spectrogram
from tests.dsp.signals import noise

SMALL = {"sample_rate": 8000, "n_fft": 64, "hop_length": 20}


@pytest.fixture
def fold_runs_on(monkeypatch):
    """Kinds of device on which the kernel ``fold`` is to run."""
    places = set()
    monkeypatch.setattr(
        FoldKernel,
        "problem",
        lambda _, demand: None if demand.device.type in places else "runs elsewhere",
    )
    return places


def test_says_which_kernel_it_uses_and_why():
    assert Spectrogram(**SMALL).kernel_name == "fft"
    assert MelSpectrogram(**SMALL, n_mels=12, trainable=("basis",)).kernel_reason


def test_an_unknown_kernel_is_refused():
    with pytest.raises(KernelError, match="kernel must be auto, .*fft.*conv"):
        Spectrogram(kernel="cuda")


def test_a_model_is_moved_to_where_its_kernel_cannot_run_and_on(fold_runs_on):
    fold_runs_on.add("cpu")
    transform, waveform = MelSpectrogram(**SMALL, n_mels=12, kernel="fold"), noise(2, 500)
    wanted = transform(waveform)
    assert transform.to("meta")(waveform.to("meta")).shape == wanted.shape
    assert torch.equal(transform.to_empty(device="cpu")(waveform), wanted)
    fold_runs_on.clear()
    transform.cpu()
    with pytest.raises(KernelError, match="kernel 'fold' runs elsewhere; available here: fft"):
        transform(waveform)


def test_what_runs_on_a_gpu_that_is_there_may_be_built_before_it_is_moved(
    fold_runs_on, monkeypatch
):
    fold_runs_on.add("cuda")
    settings, waveform = {**SMALL, "n_mels": 12}, noise(2, 500)
    with pytest.raises(KernelError, match="kernel 'fold' runs elsewhere; available here: fft"):
        MelSpectrogram(**settings, kernel="fold")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    transform = MelSpectrogram(**settings, kernel="fold")
    with pytest.raises(KernelError, match="kernel 'fold' runs elsewhere; available here: fft"):
        transform(waveform)
    # as if this were where the GPU is
    fold_runs_on.add("cpu")
    assert torch.equal(transform.to("cpu")(waveform), MelSpectrogram(**settings)(waveform))
    assert transform.kernel_name == "fold"
