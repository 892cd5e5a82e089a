"""Options that only ``specctl bench`` has."""

from pathlib import Path
from typing import Annotated

from specctl.cli.options import given_path, option

_WHAT = "What is measured"
_HOW = "How it is measured"
_RESULTS = "What is done with the results"

WorkNames = Annotated[
    list[str] | None,
    option(
        _WHAT,
        "Log-mel; spectra; a training step of the basis; a folder to a store (mel). Repeatable.",
        "--work",
        metavar="mel|stft|train|convert",
    ),
]
Device = Annotated[
    str, option(_WHAT, "CUDA where there is a GPU (auto).", metavar="auto|cpu|cuda|cuda:1")
]
Rate = Annotated[int | None, option(_WHAT, "Hz (22050).", "--sample-rate")]
NFft = Annotated[int | None, option(_WHAT, "Samples of a frame (1024, then 2048).")]
HopLength = Annotated[int | None, option(_WHAT, "Samples from frame to frame (n-fft / 4).")]
NMels = Annotated[int | None, option(_WHAT, "Mel bands (80, then 128).")]
Batch = Annotated[int | None, option(_WHAT, "Clips at once; files with convert (1, 16, 40).")]
Seconds = Annotated[
    float | None, option(_WHAT, "Length of a clip (30; 20 with train; 3600 at most).")
]
SweepName = Annotated[
    str | None,
    option(_WHAT, "See how cost grows with one setting.", metavar="n_fft|batch|seconds|n_mels"),
]
Contenders = Annotated[
    str | None,
    option(
        _WHAT,
        "Names, their beginnings, or name:precision: specctl,specctl-conv:bf16 (all).",
        metavar="A,B",
    ),
]
ThreadsName = Annotated[
    str, option(_HOW, "One core, all of them, or one after the other.", metavar="1|all|both")
]
Rounds = Annotated[int, option(_HOW, "Samples of each contender (20).")]
Budget = Annotated[
    float,
    option(
        _HOW,
        "Time for everything; what has not begun by then is left out (100).",
        metavar="SECONDS",
    ),
]
Memory = Annotated[
    bool,
    option(_HOW, "Measure memory, each contender in a process (yes).", "--memory/--no-memory"),
]
Verify = Annotated[
    bool,
    option(
        _HOW,
        "Only compare specctl's kernels with float64; exit code 1 if one is wrong.",
        "--verify",
    ),
]
Quiet = Annotated[bool, option(_RESULTS, "Print the tables alone.", "--quiet", "-q")]
Verbose = Annotated[
    bool,
    option(_RESULTS, "Errors by level, and what was made equal.", "--verbose", "-v"),
]
JsonFile = Annotated[
    Path | None,
    option(
        _RESULTS,
        "Write every sample, after each cell; - prints it.",
        "--json",
        metavar="FILE",
        parser=given_path,
    ),
]
ReportFile = Annotated[
    Path | None,
    option(
        _RESULTS,
        "Write a page with charts, which opens from disk.",
        metavar="FILE.html",
        parser=given_path,
    ),
]
FailBelow = Annotated[
    float | None,
    option(
        _RESULTS,
        "Exit code 1 if specctl's best is not so many times as fast as torch.stft.",
        metavar="RATIO",
    ),
]
