"""Options that several commands share, named once, and how their texts become values."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from specctl.errors import ParameterError

_TRANSFORM = "Transform"
_ITEMS = "From files to items"
_STORED = "What is stored"
_RUN = "How the job is run"


_WORD = re.compile(r"[a-z0-9_:-]+")
"""Of a ``metavar``, what can be given as it stands there."""


def option(panel: str, help_text: str, *names: str, **more: Any) -> Any:
    """An option in a panel of the help; shells complete the words in its ``metavar``."""
    words = [word for word in re.split("[|,]", more.get("metavar", "")) if _WORD.fullmatch(word)]
    if words:
        more.setdefault("autocompletion", lambda: words)
    return typer.Option(*names, help=help_text, rich_help_panel=panel, show_default=False, **more)


def _presets() -> list[str]:
    from specctl.presets import PRESETS

    return list(PRESETS)


def given_path(text: str) -> Path:
    """A path as it was given; ``""`` is that of no folder, but of a variable without a value."""
    return Path(not_empty(text))


def not_empty(text: str) -> str:
    """What is a path, perhaps, and therefore not empty."""
    if not text:
        raise typer.BadParameter("a path is empty; has a variable of the shell no value?")
    return text


Preset = Annotated[
    str | None,
    option(
        _TRANSFORM,
        "Settings that a model expects; flags win. See specctl presets.",
        autocompletion=_presets,
    ),
]
ConfigFile = Annotated[
    Path | None,
    option(
        _TRANSFORM,
        "TOML file of settings, such as n_fft = 1024; flags win.",
        "--config",
        metavar="FILE",
        parser=given_path,
    ),
]
FeatureName = Annotated[
    str | None,
    option(_TRANSFORM, "(mel)", metavar="complex|magnitude|power|mel|mfcc"),
]
NFft = Annotated[int | None, option(_TRANSFORM, "Samples of a frame (2048).")]
WinLength = Annotated[int | None, option(_TRANSFORM, "Samples of the window (n-fft).")]
HopLength = Annotated[
    int | None, option(_TRANSFORM, "Samples from frame to frame (win-length / 4).")
]
WindowName = Annotated[
    str | None, option(_TRANSFORM, "(hann)", metavar="hann|hamming|blackman|boxcar")
]
Center = Annotated[
    bool | None,
    option(_TRANSFORM, "Pad so that frame t is centred at t * hop (yes).", "--center/--no-center"),
]
PadModeName = Annotated[
    str | None, option(_TRANSFORM, "(constant: zeros)", metavar="constant|reflect|edge")
]
Power = Annotated[
    float | None, option(_TRANSFORM, "Exponent of the magnitude under mel bands (2).")
]
NMels = Annotated[int | None, option(_TRANSFORM, "Mel bands (128).")]
FMin = Annotated[float | None, option(_TRANSFORM, "Lowest band edge in Hz (0).", "--fmin")]
FMax = Annotated[
    float | None, option(_TRANSFORM, "Highest band edge in Hz (half the rate).", "--fmax")
]
MelScaleName = Annotated[str | None, option(_TRANSFORM, "(slaney)", metavar="slaney|htk")]
MelNormName = Annotated[str | None, option(_TRANSFORM, "(slaney)", metavar="slaney|none")]
NMfcc = Annotated[int | None, option(_TRANSFORM, "Cepstral coefficients (20).")]
Lifter = Annotated[float | None, option(_TRANSFORM, "Liftering of coefficients (0: none).")]
ScaleName = Annotated[
    str | None,
    option(_TRANSFORM, "(db for mel and mfcc, else none)", metavar="none|db|ln|log10|pcen"),
]
Ref = Annotated[
    str | None,
    option(_TRANSFORM, "Value that becomes 0 (1.0), or max: each item's peak.", metavar="X|max"),
]
AMin = Annotated[
    float | None, option(_TRANSFORM, "Smaller values count as this (1e-10 for power).", "--amin")
]
TopDb = Annotated[
    str | None,
    option(
        _TRANSFORM,
        "Cut each item so far below its own peak (none; 80 for mfcc).",
        metavar="DB|none",
    ),
]
PrecisionName = Annotated[
    str | None, option(_TRANSFORM, "Of matrix products (fp32).", metavar="fp32|tf32|bf16")
]
BasisFile = Annotated[
    Path | None,
    option(
        _TRANSFORM,
        "Trained basis; its settings are taken. Or nnAudio or torchlibrosa weights in a .pt.",
        "--basis",
        metavar="FILE",
        parser=given_path,
    ),
]
Kernel = Annotated[str, option(_TRANSFORM, "Implementation (auto).", metavar="auto|fft|conv|fold")]

SampleRate = Annotated[
    str | None,
    option(
        _ITEMS,
        "Resample to this; auto takes that of the store or parts that are there, else the most "
        "common (auto).",
        metavar="HZ|auto",
    ),
]
ChannelsName = Annotated[
    str | None,
    option(_ITEMS, "Mean of all, an item of each, or the first (mix).", metavar="mix|each|first"),
]
Segment = Annotated[
    float | None, option(_ITEMS, "Cut files into items of equal length.", metavar="SECONDS")
]
Overlap = Annotated[
    float | None, option(_ITEMS, "Of neighbouring segments (0).", metavar="SECONDS")
]
TailName = Annotated[
    str | None,
    option(_ITEMS, "The rest of a file: fill up with zeros, or drop (pad).", metavar="pad|drop"),
]
FilesFrom = Annotated[
    Path | None,
    option(
        _ITEMS,
        "Read paths from a file, - for standard input; one per line, or NUL between.",
        metavar="FILE",
        parser=given_path,
    ),
]
Include = Annotated[
    list[str] | None,
    option(
        _ITEMS, "Only files or folders that match, such as '*.flac' or speech.", metavar="GLOB"
    ),
]
Exclude = Annotated[
    list[str] | None, option(_ITEMS, "Not these files or folders.", metavar="GLOB")
]
Labels = Annotated[
    str | None,
    option(
        _ITEMS,
        "Class of each file: its first folder, or a CSV with columns path and label.",
        metavar="folder|FILE.csv",
        parser=not_empty,
    ),
]

StoredTypeName = Annotated[
    str | None,
    option(_STORED, "(float32)", "--dtype", metavar="float32|float16|int16|uint8"),
]
CompressionName = Annotated[str | None, option(_STORED, "(gzip)", metavar="none|gzip")]
Overwrite = Annotated[bool, option(_STORED, "Replace a store that is there.", "--overwrite")]
Update = Annotated[
    bool, option(_STORED, "Add new and changed files to a finished store.", "--update")
]
Prune = Annotated[
    bool, option(_STORED, "With --update, take out what it has of files that are gone.", "--prune")
]

Device = Annotated[
    str, option(_RUN, "cuda takes every GPU (auto).", metavar="auto|cpu|cuda|cuda:0,cuda:1")
]
Workers = Annotated[
    int | None,
    option(
        _RUN,
        "Processes; 0 works in this one, on one device (one for each core that may be used).",
        "--workers",
        "-j",
    ),
]
Scheduler = Annotated[
    str | None,
    option(
        _RUN,
        "Convert on the workers of a Dask scheduler, which see SOURCE and STORE as this machine "
        "does: its address, or the JSON file that it wrote.",
        metavar="tcp://HOST:PORT|FILE",
        parser=not_empty,
    ),
]
VramBudget = Annotated[
    str | None,
    option(_RUN, "Device memory to use (a quarter of what is free).", metavar="SIZE"),
]
Timeout = Annotated[
    float, option(_RUN, "Give a file up after so long without progress (60).", metavar="SECONDS")
]
MaxFailures = Annotated[int, option(_RUN, "Stop when so many files in a row have failed (100).")]
AllowTruncated = Annotated[
    bool,
    option(
        _ITEMS,
        "Convert what there is of files that are cut short, and mark their items (they fail).",
        "--allow-truncated",
    ),
]
Strict = Annotated[bool, option(_RUN, "Stop at the first file that fails.", "--strict")]
DryRun = Annotated[
    bool, option(_RUN, "Only say what would be done, how large and how long.", "--dry-run")
]
Json = Annotated[bool, option(_RUN, "Print one JSON object to standard output.", "--json")]
Quiet = Annotated[bool, option(_RUN, "Say nothing but errors.", "--quiet", "-q")]
Verbose = Annotated[bool, option(_RUN, "Say more: kernel, skipped files.", "--verbose", "-v")]

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_size(text: str | None) -> int | None:
    """``"4GiB"``, ``"500M"`` or plain bytes, as a number of bytes."""
    if text is None:
        return None
    letters = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = letters[-1:] if letters[-1:] in _UNITS and not letters[-1:].isdigit() else ""
    try:
        return int(float(letters.removesuffix(unit)) * _UNITS[unit])
    except (ValueError, OverflowError) as error:
        raise ParameterError(f"size must be a number such as 4GiB, got {text!r}") from error


def parse_number(name: str, text: str, *words: str) -> float | str:
    """A number, or one of ``words``."""
    if text in words:
        return text
    try:
        return float(text)
    except ValueError as error:
        expected = " or ".join(["a number", *words])
        raise ParameterError(f"{name} must be {expected}, got {text!r}") from error


def given_settings(flags: dict[str, Any]) -> dict[str, Any]:
    """What was given on the command line, as settings by name."""
    given = {name: value for name, value in flags.items() if value is not None}
    if "top_db" in given:
        given["top_db"] = parse_number("top_db", given["top_db"], "none")
    if "ref" in given:
        given["ref"] = parse_number("ref", given["ref"], "max")
    if given.get("sample_rate") not in (None, "auto"):
        rate = parse_number("sample_rate", given["sample_rate"], "auto")
        given["sample_rate"] = int(rate) if float(rate).is_integer() else rate
    return given
