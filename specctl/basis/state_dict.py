"""Reading the front end in files of ``torch.save`` as if they came from strangers.

Nothing in them is run, and nothing in them makes memory be taken for more than the file holds.
"""

import stat
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from specctl.errors import BasisError

Library = Literal["nnaudio", "torchlibrosa"]
LIBRARIES: tuple[Library, ...] = get_args(Library)

REAL = {"nnaudio": "wcos", "torchlibrosa": "conv_real.weight"}
IMAGINARY = {"nnaudio": "wsin", "torchlibrosa": "conv_imag.weight"}
MEL = {"nnaudio": "mel_basis", "torchlibrosa": "melW"}
SIGN = {"nnaudio": -1.0, "torchlibrosa": 1.0}
_NESTS = ("model", "state_dict", "model_state_dict")


def settings_of(path: Path | str, feature: str | None) -> dict[str, int]:
    """What the shapes in a state dict tell of its settings: ``n_fft``, and ``n_mels`` if the
    feature has bands.

    Raises
    ------
    BasisError
        If the file cannot be read, or does not hold the weights of exactly one front end.
    """
    found = find_front_end(load_state_dict(Path(path)))
    settings = {"n_fft": found.n_fft}
    if found.mel is not None and feature in (None, "mel", "mfcc"):
        settings["n_mels"] = len(found.mel)
    return settings


class FrontEnd(NamedTuple):
    """Weights of a front end, in shapes that fit each other."""

    library: Library
    real: Tensor  # (n_freqs, 1, n_fft)
    imaginary: Tensor
    mel: Tensor | None  # (n_mels, n_freqs)

    @property
    def n_freqs(self) -> int:
        """Rows of each."""
        return self.real.shape[0]

    @property
    def n_fft(self) -> int:
        """Samples of a row."""
        return self.real.shape[2]


def find_front_end(weights: Mapping[str, Any]) -> FrontEnd:
    """The weights of the one front end there is.

    Raises
    ------
    BasisError
        If there is none, or more than one.
    """
    for name in _NESTS:
        inner = weights.get(name)
        weights = inner if isinstance(inner, Mapping) else weights
    library = next((name for name in LIBRARIES if _find(weights, REAL[name]) is not None), None)
    if library is None:
        wanted = " or ".join(REAL.values())
        raise BasisError(f"the state dict has no weights of a front end, such as {wanted}")
    real, imaginary = (_find(weights, names[library]) for names in (REAL, IMAGINARY))
    if (
        real is None
        or imaginary is None
        or real.ndim != 3
        or real.shape != imaginary.shape
        or real.shape[:2] != (real.shape[2] // 2 + 1, 1)
    ):
        raise BasisError(
            f"the state dict must have {REAL[library]} and {IMAGINARY[library]} of one shape "
            "(n_freqs, 1, n_fft)"
        )
    mel = _find(weights, MEL[library])
    if mel is not None and library == "torchlibrosa":
        mel = mel.T
    if mel is not None and (mel.ndim != 2 or mel.shape[1] != real.shape[0]):
        raise BasisError(f"{MEL[library]} must fit {real.shape[0]} bins, got {tuple(mel.shape)}")
    return FrontEnd(library, real, imaginary, mel)


def load_state_dict(path: Path) -> Mapping[str, Any]:
    """What ``torch.save`` wrote; BasisError for anything but a mapping of data."""
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            # of old pickles, which are read all the same or refused
            warnings.simplefilter("ignore")
            weights = torch.load(path, map_location="cpu", weights_only=True)
    # the unpickler runs nothing, but on bytes that are no pickle it may stumble in any way
    except Exception as error:
        raise BasisError(f"{path} is not a state dict of tensors alone") from error
    if not isinstance(weights, Mapping):
        raise BasisError(f"{path} is not a state dict, it holds a {type(weights).__name__}")
    return weights


def _check_archive(path: Path) -> None:
    """Refuse what would take more memory than the file is long."""
    try:
        # a pipe or a device is refused before it is opened
        mode, n_bytes = path.stat().st_mode, path.stat().st_size
        if stat.S_ISREG(mode):
            path.open("rb").close()
    except OSError as error:
        raise BasisError(f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise BasisError(f"{path} is not a file")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        # of an older torch, cut off, or nothing at all: torch says
        return
    if any(each.compress_type for each in members) or sum(e.file_size for e in members) > n_bytes:
        raise BasisError(f"{path} is damaged: it claims more bytes than it has")


def _find(weights: Mapping[str, Any], name: str) -> Tensor | None:
    """The tensor of that name under any prefix; BasisError if there are several."""
    found = [key for key in weights if isinstance(key, str) and f".{key}".endswith(f".{name}")]
    if len(found) > 1:
        raise BasisError(f"the state dict has several front ends: {', '.join(sorted(found)[:3])}")
    value = weights[found[0]] if found else None
    if not isinstance(value, Tensor):
        return None
    is_plain = value.layout == torch.strided and value.device.type == "cpu"
    if not is_plain or not value.dtype.is_floating_point:
        raise BasisError(f"{name} must be a dense tensor of floats, got {value.dtype}")
    # a view may claim any size of a storage of a few bytes
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise BasisError(f"{name} is damaged: it claims {tuple(value.shape)} of fewer numbers")
    return value
