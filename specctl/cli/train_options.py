"""Options of ``specctl train-basis``; defaults are those of `specctl.training.TrainSettings`."""

from pathlib import Path
from typing import Annotated

import typer

from specctl.cli.options import given_path, option

_DATA = "What is learned from"
_TRAINED = "What is trained, and how"
_RUN = "How the job is run"
_TRANSFORM = "Transform"
_OUT = "What is written beside the basis"

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="LABELLED",
        help="Folder of audio; each folder in it is a class.",
        parser=given_path,
    ),
]
Output = Annotated[
    Path, typer.Argument(metavar="BASIS", help="Basis file to write.", parser=given_path)
]

Labels = Annotated[
    Path | None,
    option(
        _DATA,
        "CSV: path, label, where wanted split and group.",
        metavar="FILE.csv",
        parser=given_path,
    ),
]
Group = Annotated[
    str | None,
    option(
        _DATA,
        "What it finds in a path is never on both sides of a split, such as a speaker.",
        metavar="REGEX",
    ),
]
Crop = Annotated[
    float | None, option(_DATA, "Length of a training clip (1; 3600 at most).", metavar="SECONDS")
]
Augment = Annotated[
    list[str] | None,
    option(
        _DATA,
        "gain, noise, shift, pitch, stretch, specaugment or mixup, with parameters as in "
        "shift:max_shift=0.1; again for more.",
        metavar="NAME",
    ),
]
SampleRate = Annotated[
    str | None,
    option(_DATA, "Resample to this; auto takes the most common (auto).", metavar="HZ|auto"),
]
Seed = Annotated[int | None, option(_DATA, "Of splits, crops and weights (0).")]

Train = Annotated[
    str | None,
    option(
        _TRAINED,
        "Which weights (basis).",
        metavar="basis|window|frequencies|mel|pcen,…",
    ),
]
Init = Annotated[
    str | None,
    option(
        _TRAINED,
        "Where they start (fourier); a basis file, or nnAudio or torchlibrosa weights in a .pt. "
        "What they are compared with is Fourier rows and untrained bands always.",
        metavar="fourier|mel-fourier|random|FILE",
    ),
]
Model = Annotated[str | None, option(_TRAINED, "(cnn)", metavar="linear|cnn|resnet18")]
Epochs = Annotated[int | None, option(_TRAINED, "Times through the training files (20).")]
BatchSize = Annotated[int | None, option(_TRAINED, "Clips of a step (32).")]
LearningRate = Annotated[float | None, option(_TRAINED, "Of the model (0.001).", "--lr")]
BasisRate = Annotated[float | None, option(_TRAINED, "Of the trained weights (0.001).")]
KeepNear = Annotated[
    float | None, option(_TRAINED, "Penalty for leaving the start (0).", metavar="WEIGHT")
]
UnitNorm = Annotated[
    float | None,
    option(_TRAINED, "Penalty for rows that change their norm (0).", metavar="WEIGHT"),
]
Orthogonality = Annotated[
    float | None, option(_TRAINED, "Penalty for rows that are alike (0).", metavar="WEIGHT")
]
ModelPrecision = Annotated[
    str | None,
    option(
        _TRAINED,
        "Of the model (fp32); the front end is in float32 always.",
        "--precision",
        metavar="fp32|tf32|bf16",
    ),
]
Runs = Annotated[
    int | None, option(_TRAINED, "Trainings, each with a split and weights of its own (3).")
]
WithVerdict = Annotated[
    bool | None,
    option(
        _TRAINED,
        "Train with the basis fixed as well, and compare (yes).",
        "--verdict/--no-verdict",
    ),
]

Device = Annotated[
    str, option(_RUN, "For several GPUs start with torchrun (auto).", metavar="auto|cpu|cuda")
]
VramBudget = Annotated[
    str | None,
    option(_RUN, "Device memory to take at most; batches are cut to fit.", metavar="SIZE"),
]
CacheBudget = Annotated[
    str | None,
    option(_RUN, "Memory for decoded audio; the rest is decoded again (1GiB).", metavar="SIZE"),
]
CheckpointEvery = Annotated[int | None, option(_RUN, "Steps from save to save (50).")]
Overwrite = Annotated[bool, option(_RUN, "Replace files that are there.", "--overwrite")]
Resume = Annotated[bool, option(_RUN, "Go on with what was stopped.", "--resume")]

ReportFile = Annotated[
    Path | None,
    option(_OUT, "Report as one page.", metavar="FILE.html", parser=given_path),
]
MetricsFile = Annotated[
    Path | None,
    option(_OUT, "Figures of each step and epoch.", metavar="FILE.jsonl", parser=given_path),
]
TensorBoard = Annotated[
    Path | None,
    option(
        _OUT,
        "The same for TensorBoard.",
        "--tensorboard",
        metavar="FOLDER",
        parser=given_path,
    ),
]

NFft = Annotated[
    int | None, option(_TRANSFORM, "Samples of a frame (largest power of 2 within 32 ms).")
]
NMels = Annotated[int | None, option(_TRANSFORM, "Mel bands (64).")]
