"""A training step of specctl beside one of nnAudio, in pairs: one process, turn and turn about.

    python benchmarks/step_pairs.py                       # 4 clips of 10 s, one thread
    python benchmarks/step_pairs.py --threads 2 --clips 16 --seconds 20
    python benchmarks/step_pairs.py --clips 320 --seconds 0.25

Prints the median of the ratios of each pair (below 1: specctl is faster) and their range. The
other records time four libraries in one process; this one keeps to two, whose threads and memory
disturb each other less.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor

import specctl

CASES = ((16000, 400, 160, 80), (22050, 1024, 256, 80), (22050, 2048, 512, 128))
"""Sample rate, n_fft, hop length, bands."""

Step = Callable[[Tensor], None]


def ours(sample_rate: int, n_fft: int, hop_length: int, n_mels: int) -> Step:
    """Forward and backward of a log-mel with a trained basis."""
    module = specctl.MelSpectrogram(
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        trainable=("basis",),
    )
    return step_of(module, module)


def nnaudio(sample_rate: int, n_fft: int, hop_length: int, n_mels: int) -> Step:
    """The same numbers with nnAudio."""
    from nnAudio.features import MelSpectrogram

    module = MelSpectrogram(
        sr=sample_rate,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        pad_mode="constant",
        trainable_STFT=True,
        verbose=False,
    )
    return step_of(module, lambda waveform: 10 * torch.log10(module(waveform).clamp_min(1e-10)))


def step_of(module: torch.nn.Module, forward: Callable[[Tensor], Tensor]) -> Step:
    """From waveforms to gradients."""

    def step(waveform: Tensor) -> None:
        module.zero_grad(set_to_none=True)
        forward(waveform).mean().backward()  # type: ignore[no-untyped-call]

    return step


def seconds(step: Step, waveform: Tensor) -> float:
    """Of one call."""
    started = perf_counter()
    step(waveform)
    return perf_counter() - started


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description="A training step beside one of nnAudio.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pairs", type=int, default=7)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(given.threads)
    for case in CASES:
        steps = ours(*case), nnaudio(*case)
        waveform = 0.1 * torch.randn(given.clips, round(given.seconds * case[0]))
        for step in steps:
            step(waveform)
        ratios = []
        for number in range(given.pairs):
            order = steps if number % 2 else steps[::-1]
            spent = {step: seconds(step, waveform) for step in order}
            ratios.append(spent[steps[0]] / spent[steps[1]])
        print(
            f"{case[1]} / {case[2]} / {case[3]}, {given.clips} x {given.seconds:g} s, "
            f"{given.threads} threads: {statistics.median(ratios):.2f} of nnAudio's time "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
