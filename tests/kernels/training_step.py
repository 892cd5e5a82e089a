"""One training step of a log-mel front end in a process of its own: what it takes and how long.

    python training_step.py specctl|nnaudio|mel|window CLIPS SECONDS [RUNS]

writes the peak of the allocator in bytes over inputs and parameters, the norm of the gradient,
and with RUNS the seconds of the fastest step of so many, on one thread. ``mel`` and ``window``
are specctl's too: they train these alone, by FFT.
"""

import json
import sys
import time
import warnings

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

SAMPLE_RATE, N_FFT, HOP, N_MELS = 22050, 1024, 256, 80


class NnAudioLogMel(nn.Module):
    """What a user of nnAudio writes for the same numbers in dB."""

    def __init__(self):
        super().__init__()
        from nnAudio.features import MelSpectrogram

        self.mel = MelSpectrogram(
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


def front_end(name):
    if name == "nnaudio":
        return NnAudioLogMel()
    import specctl

    return specctl.MelSpectrogram(
        sample_rate=SAMPLE_RATE,
        n_fft=N_FFT,
        hop_length=HOP,
        n_mels=N_MELS,
        trainable=("basis" if name == "specctl" else name,),
    )


def step(module, waveform):
    module.zero_grad(set_to_none=True)
    # a loss that takes no memory of its own
    module(waveform).mean().backward()


def peak_bytes(module, waveform):
    """Highest sum of all that was allocated and not yet freed during one step, on one thread."""
    module.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step(module, waveform)
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def seconds(module, waveform):
    started = time.perf_counter()
    step(module, waveform)
    return time.perf_counter() - started


def main(name, n_clips, clip_seconds, n_runs=0):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = front_end(name)
    waveform = 0.1 * torch.randn(n_clips, clip_seconds * SAMPLE_RATE)
    step(module, waveform[:, : 2 * N_FFT])
    peak = peak_bytes(module, waveform)
    squares = sum(float(weight.grad.double().square().sum()) for weight in module.parameters())
    result = {"peak_bytes": peak, "gradient_norm": squares**0.5}
    if n_runs:
        result["seconds"] = min(seconds(module, waveform) for _ in range(n_runs))
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
