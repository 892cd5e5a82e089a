"""Weights of nnAudio and torchlibrosa: read from their state dicts, written as such.

Both keep the rows as weights of one-channel convolutions, (n_freqs, 1, n_fft). nnAudio's ``wsin``
holds plain sines and the sign is put right afterwards; torchlibrosa keeps ``melW`` transposed.
Neither keeps its settings, so whoever reads has to know them.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specctl.basis.file import check_absent, write_whole
from specctl.basis.record import Basis
from specctl.basis.state_dict import (
    IMAGINARY,
    REAL,
    SIGN,
    Library,
    find_front_end,
    load_state_dict,
)
from specctl.config import SpectrogramConfig
from specctl.dsp.mel import mel_weights
from specctl.dsp.windows import window
from specctl.durable import Kind
from specctl.errors import ParameterError

STATE_DICT = Kind(
    "state dict",
    "state dicts",
    # a zip archive whose first member is the one that torch.save writes first
    lambda start: start.startswith(b"PK\x03\x04") and b"/data.pkl" in start[30:1024],
)


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
    weights = source if isinstance(source, Mapping) else load_state_dict(Path(source))
    found = find_front_end(weights)
    if (found.n_fft, found.n_freqs) != (config.n_fft, config.n_freqs):
        raise ParameterError(
            f"n_fft must be {found.n_fft}, that of the weights, got {config.n_fft}"
        )
    rows = torch.cat([found.real[:, 0], SIGN[found.library] * found.imaginary[:, 0]])
    mel = found.mel if config.n_mels is not None else None
    if mel is not None and tuple(mel.shape) != (config.n_mels, config.n_freqs):
        raise ParameterError(
            f"n_mels must be {len(mel)}, that of the weights, got {config.n_mels}"
        )
    bands = mel_weights(config) if config.n_mels is not None else None
    return Basis(
        config=config,
        basis=_array(rows),
        window=_array(window(config)),
        mel=bands if mel is None else _array(mel),
        metadata={"source": found.library},
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
        If the library cannot pad or scale as the basis was made for, or has no weights for PCEN.
    """
    problem = _problem(basis.config, library)
    if problem is not None:
        raise ParameterError(f"{library} {problem}")
    real, imaginary = torch.from_numpy(basis.basis)[:, None].chunk(2)
    mel = torch.from_numpy(basis.mel) if basis.mel is not None else None
    weights = {
        f"stft.{REAL[library]}": real.clone(),
        f"stft.{IMAGINARY[library]}": SIGN[library] * imaginary,
    }
    if library == "torchlibrosa":
        return weights if mel is None else {**weights, "melW": mel.T.contiguous()}
    weights["stft.window_mask"] = torch.from_numpy(basis.window)[None, :, None].clone()
    if mel is None:
        return {name.removeprefix("stft."): weight for name, weight in weights.items()}
    return {**weights, "mel_basis": mel.clone()}


def write_state_dict(path: Path, basis: Basis, library: Library, *, overwrite: bool) -> None:
    """`to_state_dict` as a file for ``torch.load``, written as `save_basis` writes."""
    weights = to_state_dict(basis, library)
    check_absent(path, STATE_DICT, overwrite=overwrite)
    data = io.BytesIO()
    torch.save(weights, data)
    write_whole(path, data.getvalue())


def module_call(config: SpectrogramConfig, library: Library) -> str:
    """The Python expression that builds the module the weights belong to."""
    common = f"n_fft={config.n_fft}, hop_length={config.hop_length}, pad_mode={config.pad_mode!r}"
    common += f", center={config.center}"
    if library == "torchlibrosa":
        call = f"torchlibrosa.Spectrogram({common}, power={config.power})"
        if config.n_mels is None:
            return call
        is_log = _takes_log(config)
        bank = f"n_fft={config.n_fft}, n_mels={config.n_mels}, is_log={is_log}"
        if is_log:
            # its own is below the peak of a whole batch, not of each item
            bank += f", ref={config.ref}, amin={config.amin}, top_db=None"
        return f"{call}, torchlibrosa.LogmelFilterBank(sr={config.sample_rate}, {bank})"
    if config.n_mels is None:
        return f"nnAudio.features.STFT({common}, sr={config.sample_rate})"
    mel = f"sr={config.sample_rate}, n_mels={config.n_mels}, power={config.power}"
    return f"nnAudio.features.MelSpectrogram({common}, {mel})"


def left_to_do(config: SpectrogramConfig, library: Library) -> list[str]:
    """Settings that the module of `module_call` does not see to, in the order to do them in."""
    is_log = library == "torchlibrosa" and config.n_mels is not None and _takes_log(config)
    is_parts = library == "nnaudio" and config.n_mels is None and not config.is_complex
    left = [f"scale {config.scale!r}"] if config.scale != "none" and not is_log else []
    if is_parts:
        left.insert(0, f"feature {config.feature!r}")
    if is_log and config.top_db is not None:
        left.append(f"top_db {config.top_db:g} of each item")
    if config.feature == "mfcc":
        left.append("feature 'mfcc'")
    return left


def _takes_log(config: SpectrogramConfig) -> bool:
    """Whether torchlibrosa's bank takes the logarithm; its decibels are those of a power."""
    return config.scale == "db" and config.power == 2 and config.ref != "max"


def _problem(config: SpectrogramConfig, library: Library) -> str | None:
    """What the library cannot do of the settings."""
    if config.scale == "pcen":
        return "has no weights for scale 'pcen'; export a basis without it"
    if config.pad_mode == "edge" and config.center:
        return "cannot pad with pad_mode 'edge'"
    if library == "torchlibrosa" and config.power is None:
        return "has no complex spectrogram module with weights of this name"
    return None


def _array(weight: Tensor) -> np.ndarray:
    array: np.ndarray = weight.detach().to(torch.float32).contiguous().numpy().copy()
    return array
