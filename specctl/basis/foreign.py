"""Weights of nnAudio and torchlibrosa: read from their state dicts, written as such.

Both keep the rows as weights of one-channel convolutions, (n_freqs, 1, n_fft). nnAudio's ``wsin``
holds plain sines and the sign is put right afterwards; torchlibrosa keeps ``melW`` transposed.
Neither keeps its settings, so whoever reads has to know them.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from specctl.basis.file import check_absent
from specctl.basis.record import Basis
from specctl.config import SpectrogramConfig
from specctl.dsp.mel import mel_weights
from specctl.dsp.windows import window
from specctl.errors import BasisError, ParameterError

Library = Literal["nnaudio", "torchlibrosa"]
LIBRARIES: tuple[Library, ...] = get_args(Library)

_REAL = {"nnaudio": "wcos", "torchlibrosa": "conv_real.weight"}
_IMAGINARY = {"nnaudio": "wsin", "torchlibrosa": "conv_imag.weight"}
_MEL = {"nnaudio": "mel_basis", "torchlibrosa": "melW"}
_SIGN = {"nnaudio": -1.0, "torchlibrosa": 1.0}
_NESTS = ("model", "state_dict", "model_state_dict")


def read_state_dict(source: Path | str | Mapping[str, Any], config: SpectrogramConfig) -> Basis:
    """The front end in a state dict or checkpoint of nnAudio or torchlibrosa.

    Parameters
    ----------
    source : Path, str or mapping
        A file that ``torch.save`` wrote, read without running anything in it, or what it holds.
        Names may have any prefix, as they have within a model.
    config : SpectrogramConfig
        The settings the weights were made with; a state dict has none.

    Returns
    -------
    Basis
        Bands that the state dict does not have are those of ``config``.

    Raises
    ------
    BasisError
        If the file cannot be read, or does not hold the weights of exactly one front end.
    ParameterError
        If the weights do not fit ``config``.
    """
    if config.scale == "pcen":
        raise ParameterError("scale must not be 'pcen', other libraries have no weights for it")
    weights = source if isinstance(source, Mapping) else _load(Path(source))
    for name in _NESTS:
        inner = weights.get(name)
        weights = inner if isinstance(inner, Mapping) else weights
    library = next((name for name in LIBRARIES if _find(weights, _REAL[name]) is not None), None)
    if library is None:
        wanted = " or ".join(_REAL.values())
        raise BasisError(f"the state dict has no weights of a front end, such as {wanted}")
    real, imaginary = (_find(weights, names[library]) for names in (_REAL, _IMAGINARY))
    if real is None or imaginary is None or real.ndim != 3 or real.shape != imaginary.shape:
        raise BasisError(
            f"the state dict must have {_REAL[library]} and {_IMAGINARY[library]} of one shape "
            "(n_freqs, 1, n_fft)"
        )
    rows = torch.cat([real[:, 0], _SIGN[library] * imaginary[:, 0]])
    mel = _find(weights, _MEL[library]) if config.n_mels is not None else None
    if mel is not None and library == "torchlibrosa":
        mel = mel.T
    bands = mel_weights(config) if config.n_mels is not None else None
    return Basis(
        config=config,
        basis=_array(rows),
        window=_array(window(config)),
        mel=bands if mel is None else _array(mel),
        metadata={"source": library},
    )


def to_state_dict(basis: Basis, library: Library) -> dict[str, Tensor]:
    """Weights by the names of a library's modules.

    Returns
    -------
    dict
        For nnAudio those of ``features.MelSpectrogram`` (with bands) or ``features.STFT``, for
        torchlibrosa those of ``Spectrogram`` and, if there are bands, of ``LogmelFilterBank``.

    Raises
    ------
    ParameterError
        If the library cannot pad or scale as the basis was made for.
    """
    problem = _problem(basis.config, library)
    if problem is not None:
        raise ParameterError(f"{library} {problem}")
    real, imaginary = torch.from_numpy(basis.basis)[:, None].chunk(2)
    mel = torch.from_numpy(basis.mel) if basis.mel is not None else None
    weights = {
        f"stft.{_REAL[library]}": real.clone(),
        f"stft.{_IMAGINARY[library]}": _SIGN[library] * imaginary,
    }
    if library == "torchlibrosa":
        return weights if mel is None else {**weights, "melW": mel.T.contiguous()}
    weights["stft.window_mask"] = torch.from_numpy(basis.window)[None, :, None].clone()
    if mel is None:
        return {name.removeprefix("stft."): weight for name, weight in weights.items()}
    return {**weights, "mel_basis": mel.clone()}


def write_state_dict(path: Path, basis: Basis, library: Library, *, overwrite: bool) -> None:
    """`to_state_dict` as a file for ``torch.load``; BasisError if it cannot be written."""
    weights = to_state_dict(basis, library)
    check_absent(path, overwrite)
    try:
        torch.save(weights, path)
    except (OSError, RuntimeError) as error:
        raise BasisError(f"cannot write {path}: {error}") from error


def module_call(config: SpectrogramConfig, library: Library) -> str:
    """The Python expression that builds the module the weights belong to."""
    common = f"n_fft={config.n_fft}, hop_length={config.hop_length}, pad_mode={config.pad_mode!r}"
    common += f", center={config.center}"
    if library == "torchlibrosa":
        call = f"torchlibrosa.Spectrogram({common}, power={config.power})"
        if config.n_mels is None:
            return call
        # its decibels are those of a power
        is_log = config.scale == "db" and config.power == 2 and config.ref != "max"
        bank = f"n_fft={config.n_fft}, n_mels={config.n_mels}, is_log={is_log}"
        if is_log:
            bank += f", ref={config.ref}, amin={config.amin}, top_db={config.top_db}"
        return f"{call}, torchlibrosa.LogmelFilterBank(sr={config.sample_rate}, {bank})"
    if config.n_mels is None:
        return f"nnAudio.features.STFT({common}, sr={config.sample_rate})"
    mel = f"sr={config.sample_rate}, n_mels={config.n_mels}, power={config.power}"
    return f"nnAudio.features.MelSpectrogram({common}, {mel})"


def _problem(config: SpectrogramConfig, library: Library) -> str | None:
    """What the library cannot do of the settings."""
    if config.pad_mode == "edge" and config.center:
        return "cannot pad with pad_mode 'edge'"
    if library == "torchlibrosa" and config.power is None:
        return "has no complex spectrogram module with weights of this name"
    return None


def _load(path: Path) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            # of old pickles, which are read all the same or refused
            warnings.simplefilter("ignore")
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BasisError(f"cannot read {path}: {error.strerror}") from error
    # the unpickler runs nothing, but on bytes that are no pickle it may stumble in any way
    except Exception as error:
        raise BasisError(f"{path} is not a state dict of tensors alone") from error
    if not isinstance(weights, Mapping):
        raise BasisError(f"{path} is not a state dict, it holds a {type(weights).__name__}")
    return weights


def _find(weights: Mapping[str, Any], name: str) -> Tensor | None:
    """The tensor of that name under any prefix; BasisError if there are several."""
    found = [key for key in weights if isinstance(key, str) and f".{key}".endswith(f".{name}")]
    if len(found) > 1:
        raise BasisError(f"the state dict has several front ends: {', '.join(sorted(found)[:3])}")
    value = weights[found[0]] if found else None
    return value if isinstance(value, Tensor) else None


def _array(weight: Tensor) -> np.ndarray:
    array: np.ndarray = weight.detach().to(torch.float32).contiguous().numpy().copy()
    return array
