"""Peak memory of a training step on one thread, beside that of nnAudio on the same work."""

import warnings

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from specctl import MelSpectrogram
from tests.dsp.signals import noise

SAMPLE_RATE, N_FFT, HOP, N_MELS = 22050, 1024, 256, 80
N_CLIPS, SECONDS = 16, 20
N_FRAMES = N_CLIPS * (1 + SECONDS * SAMPLE_RATE // HOP)
OUTPUT_BYTES = 4 * N_MELS * N_FRAMES
# of nnAudio's peak; most of what is left is the output and what the loss makes of it
SHARE = 1 / 8
# nnAudio adds 1e-8 under a square root
GRADIENT_TOLERANCE = 1e-5


class NnAudioLogMel(nn.Module):
    """What a user of nnAudio writes for the same numbers in dB."""

    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            features = pytest.importorskip("nnAudio.features")
            self.mel = features.MelSpectrogram(
                sr=SAMPLE_RATE,
                n_fft=N_FFT,
                hop_length=HOP,
                n_mels=N_MELS,
                pad_mode="constant",
                trainable_STFT=True,
                verbose=False,
            )

    def forward(self, waveform):
        return 10 * torch.log10(self.mel(waveform).clamp_min(1e-10))


def front_end(trainable):
    return MelSpectrogram(
        sample_rate=SAMPLE_RATE,
        n_fft=N_FFT,
        hop_length=HOP,
        n_mels=N_MELS,
        trainable=(trainable,),
    )


@pytest.fixture(scope="module")
def waveform():
    return noise(N_CLIPS, SECONDS * SAMPLE_RATE)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def step(module, waveform):
    module.zero_grad(set_to_none=True)
    # a loss that takes no memory of its own
    module(waveform).mean().backward()


def peak_bytes(module, waveform):
    """Highest sum of all that was allocated and not yet freed during one step."""
    # what is made once
    step(module, waveform[:, : 2 * N_FFT])
    module.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step(module, waveform)
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def gradient_norm(module):
    return sum(float(weight.grad.double().square().sum()) for weight in module.parameters()) ** 0.5


def test_a_step_takes_an_eighth_of_the_memory_of_nnaudio_and_gives_the_same_gradient(waveform):
    ours, theirs = front_end("basis"), NnAudioLogMel()
    peak = peak_bytes(ours, waveform)
    assert peak <= SHARE * peak_bytes(theirs, waveform)
    assert gradient_norm(ours) == pytest.approx(gradient_norm(theirs), rel=GRADIENT_TOLERANCE)
    # a measurement that missed its allocations would see less than the output alone
    assert peak >= OUTPUT_BYTES


@pytest.mark.parametrize("trainable", ["mel", "window"])
def test_training_by_fft_keeps_no_spectra(trainable, waveform):
    spectra_bytes = 8 * (N_FFT // 2 + 1) * N_FRAMES
    peak = peak_bytes(front_end(trainable), waveform)
    # of the outputs themselves, some copies for the loss, and in pieces what is computed again
    assert OUTPUT_BYTES < peak <= 9 * OUTPUT_BYTES < spectra_bytes
