"""Log-mel spectrograms on one core: specctl against what people use today.

    python benchmarks/transform.py
    python benchmarks/transform.py --rounds 101 --out benchmarks/results/transform-NAME.json

All contenders share a process and its single thread. In a round each works through the same few
clips, one contender after the other, each round starting with another, so that a slow moment of
the machine falls on all alike; ratios are taken within a round and their median is reported. Time
is processor time: what other programs take is not counted, what they push out of the caches is.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import corpus
import librosa
import numpy as np
import record
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from specctl import MelSpectrogram
from specctl.dsp.reference import reference_spectrogram

LogMel = Callable[[Tensor], Any]

N_CLIPS = 4
LEVELS_DB = (0, 40, 60, 80, 100)
"""Edges of the level bands, in dB below the loudest value of the clip."""


@dataclass(frozen=True)
class Case:
    """One setting of the transform."""

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int

    def __str__(self) -> str:
        return f"{self.n_fft}/{self.hop_length}, {self.n_mels} bands, {self.sample_rate} Hz"


CASES = (
    Case(22050, 1024, 256, 80),
    Case(22050, 2048, 512, 128),
    Case(16000, 400, 160, 80),
)


def specctl_log_mel(case: Case) -> LogMel:
    """The transform as users build it, with the FFT kernel."""
    return MelSpectrogram(**asdict(case), kernel="fft")


def librosa_log_mel(case: Case) -> LogMel:
    """`librosa.feature.melspectrogram` and `power_to_db`, as in librosa's tutorial."""

    def log_mel(waveform: Tensor) -> Any:
        mel = librosa.feature.melspectrogram(
            y=waveform.numpy(),
            sr=case.sample_rate,
            n_fft=case.n_fft,
            hop_length=case.hop_length,
            n_mels=case.n_mels,
        )
        return librosa.power_to_db(mel, top_db=None)

    return log_mel


def torch_log_mel(case: Case) -> LogMel:
    """`torch.stft`, squared magnitude, product with librosa's bands, logarithm."""
    window = torch.hann_window(case.n_fft)
    bands = librosa.filters.mel(sr=case.sample_rate, n_fft=case.n_fft, n_mels=case.n_mels)
    mel = torch.from_numpy(bands)

    def log_mel(waveform: Tensor) -> Tensor:
        spectrum = torch.stft(
            waveform,
            case.n_fft,
            case.hop_length,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        return (mel @ spectrum.abs().square()).clamp(min=1e-10).log10().mul(10.0)

    return log_mel


def nnaudio_log_mel(case: Case) -> LogMel:
    """nnAudio's `MelSpectrogram`, which has no logarithm, and torch's."""
    os.environ.setdefault("NNAUDIO_DISABLE_CITATION_REMINDER", "1")
    from nnAudio.features import MelSpectrogram as NnAudioMel

    layer = NnAudioMel(
        sr=case.sample_rate,
        n_fft=case.n_fft,
        hop_length=case.hop_length,
        n_mels=case.n_mels,
        pad_mode="constant",
        verbose=False,
    )
    return lambda waveform: layer(waveform[None])[0].clamp(min=1e-10).log10().mul(10.0)


CONTENDERS: dict[str, Callable[[Case], LogMel]] = {
    "specctl": specctl_log_mel,
    "librosa": librosa_log_mel,
    "torch.stft": torch_log_mel,
    "nnAudio": nnaudio_log_mel,
}


def error_db(values: Any, reference: Tensor) -> dict[str, float]:
    """Greatest difference from the float64 reference in each band of level."""
    off = (torch.as_tensor(np.asarray(values)).double() - reference).abs()
    below = reference.max() - reference
    errors = {}
    for upper, lower in pairwise(LEVELS_DB):
        here = (below >= upper) & (below < lower)
        if here.any():
            errors[f"{-upper} to -{lower} dB"] = float(off[here].max())
    return errors


def timed_rounds(
    calls: dict[str, LogMel], clips: list[Tensor], n_rounds: int
) -> dict[str, list[float]]:
    """Seconds that each contender took for all clips, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for round_number in range(n_rounds):
        turn = round_number % len(names)
        for name in names[turn:] + names[:turn]:
            started = process_time()
            for clip in clips:
                calls[name](clip)
            seconds[name].append(process_time() - started)
    return seconds


@torch.no_grad()
def run_case(case: Case, names: list[str], *, seconds: int, n_rounds: int) -> list[dict[str, Any]]:
    """One row for each contender."""
    clips = [
        torch.from_numpy(corpus.waveform(seed, case.sample_rate, seconds))
        for seed in range(N_CLIPS)
    ]
    calls = {name: CONTENDERS[name](case) for name in names}
    config = MelSpectrogram(**asdict(case)).config
    reference = reference_spectrogram(clips[0], config)
    # the comparison warms up at the same time
    errors = {name: error_db(call(clips[0]), reference) for name, call in calls.items()}
    times = timed_rounds(calls, clips, n_rounds)
    n_frames = N_CLIPS * config.n_frames(len(clips[0]))
    return [
        {
            "case": asdict(case),
            "contender": name,
            "us_per_frame": 1e6 * median(times[name]) / n_frames,
            "times_specctl": median(
                mine / ours for mine, ours in zip(times[name], times["specctl"], strict=True)
            ),
            "error_db": errors[name],
            "ms": record.spread([1e3 * value for value in times[name]]),
        }
        for name in names
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text, one case after the other."""
    lines = [f"{'case':32}{'contender':12}{'us/frame':>9}{'x specctl':>11}  max dB off, by level"]
    for row in rows:
        errors = ", ".join(f"{band}: {off:.1e}" for band, off in row["error_db"].items())
        lines.append(
            f"{Case(**row['case'])!s:32}{row['contender']:12}{row['us_per_frame']:9.2f}"
            f"{row['times_specctl']:11.2f}  {errors}"
        )
    return "\n".join(lines)


def main() -> None:
    """Time every contender on every case; table to stdout, record to a file."""
    parser = argparse.ArgumentParser(description="Log-mel spectrograms on one core.")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=int, default=10, help="length of a clip")
    parser.add_argument("--out", type=Path, help="JSON record to write")
    arguments = parser.parse_args()
    names = [name for name in CONTENDERS if name != "nnAudio" or find_spec("nnAudio")]
    machine = record.machine()
    rows = []
    for case in CASES:
        print(case, file=sys.stderr)
        with threadpool_limits(1):
            rows += run_case(case, names, seconds=arguments.seconds, n_rounds=arguments.rounds)
    print(table(rows))
    if arguments.out is not None:
        about = {
            "benchmark": "transform",
            "date": record.now(),
            "machine": machine,
            "versions": record.versions(),
            "threads": 1,
            "clip_seconds": arguments.seconds,
            "rounds": arguments.rounds,
        }
        record.write(arguments.out, json.loads(json.dumps({**about, "rows": rows})))


if __name__ == "__main__":
    main()
