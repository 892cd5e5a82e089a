"""Where the weights of a transform start, and which of them may be trained."""

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from specctl.basis import Basis
from specctl.basis.ordinary import read_basis
from specctl.config import SpectrogramConfig
from specctl.dsp.basis import unwindowed_basis
from specctl.dsp.mel import mel_filterbank
from specctl.dsp.rows import bands_over, mel_spaced_frequencies, rows_at
from specctl.dsp.windows import window
from specctl.errors import ParameterError

INITS = ("fourier", "mel-fourier", "random")
"""Named starts; anything else is the path of a basis file."""

_OF_WINDOW = ("window", "win_length")
_OF_BANDS = ("n_mels", "fmin", "fmax", "mel_scale", "mel_norm")
_SAME = ("sample_rate", "n_fft", *_OF_WINDOW, *_OF_BANDS, "scale")
"""Settings in which a transform and the basis file it starts from must agree."""

# a basis file whose rows are off by less was not trained; float32 rounds them by 6e-8
_UNTRAINED = 1e-6


@dataclass(frozen=True, slots=True)
class Start:
    """The weights a transform begins with; large ones are built when asked for.

    ``rows`` are those of the basis before the window, ``None`` if they are not known apart.
    """

    window: Tensor  # (n_fft,) float32
    basis: Callable[[], Tensor]  # (2 * n_freqs, n_fft) float32
    rows: Callable[[], Tensor] | None  # (2 * n_freqs, n_fft) float64
    frequencies: Tensor | None  # (n_freqs,) float32, in bins
    mel: Tensor | None  # (n_mels, n_freqs) float32
    is_fourier: bool
    pcen: Tensor | None = None  # (4, n_mels) float32
    trained: tuple[str, ...] = ()  # what was trained before

    def check(self, trainable: frozenset[str]) -> None:
        """Raise ParameterError if something is to be trained that is not known apart."""
        if "frequencies" in trainable and self.frequencies is None:
            raise ParameterError(
                "trainable must not name frequencies, the rows it starts from are not of one "
                "frequency each"
            )
        if "window" in trainable and self.rows is None:
            raise ParameterError(
                "trainable must not name window, the rows it starts from hold theirs"
            )


def start_weights(config: SpectrogramConfig, init: str | Path | Basis, seed: int) -> Start:
    """Weights to begin with.

    Parameters
    ----------
    config : SpectrogramConfig
    init : str, Path or Basis
        One of `INITS`, a basis file or what one holds, or a state dict of nnAudio or
        torchlibrosa that ``torch.save`` wrote.
    seed : int
        For ``"random"``.

    Raises
    ------
    ParameterError
        If a basis file was made with other settings.
    BasisError
        If a basis file cannot be read.
    """
    if isinstance(init, Basis):
        return _from_basis(config, init)
    if not isinstance(init, (str, os.PathLike)):
        raise ParameterError(f"init must be {', '.join(INITS)} or a basis file, got {init!r}")
    if not (isinstance(seed, Integral) and abs(seed) < 2**63):
        raise ParameterError(f"seed must be a whole number below 2**63, got {seed!r}")
    if init not in INITS:
        if not os.path.exists(init):  # noqa: PTH110 - a name that is too long is not there either
            raise ParameterError(
                f"init must be {', '.join(INITS)} or a basis file, got {str(init)!r}"
            )
        return _from_basis(config, read_basis(init, config))
    mel = mel_filterbank(config) if config.n_mels is not None else None
    if init == "fourier":
        frequencies = torch.arange(config.n_freqs, dtype=torch.float64)
        rows = partial(unwindowed_basis, config)
        return _of_rows(config, rows, frequencies, mel, is_fourier=True)
    if init == "random":
        return _of_rows(config, partial(_random_rows, config, int(seed)), None, mel)
    spaced = mel_spaced_frequencies(config, config.mel_scale or "slaney")
    if mel is not None:
        mel = torch.from_numpy(bands_over(config, spaced))
    # as a file keeps them, or the rows in it would not be at the frequencies in it
    frequencies = torch.from_numpy(spaced).float()
    return _of_rows(config, partial(rows_at, frequencies.double(), config.n_fft), frequencies, mel)


def trainable_names(config: SpectrogramConfig) -> tuple[str, ...]:
    """Names of the weights that a transform with these settings has and can train."""
    bands = ("mel",) if config.n_mels is not None else ()
    return ("basis", "window", "frequencies", *bands, *(("pcen",) * (config.scale == "pcen")))


def checked_names(trainable: Sequence[str], config: SpectrogramConfig) -> frozenset[str]:
    """Names of weights to train; ParameterError for one that would train nothing."""
    if not isinstance(trainable, Iterable):
        raise ParameterError(f"trainable must be names of weights, got {trainable!r}")
    names = (trainable,) if isinstance(trainable, str) else tuple(trainable)
    able = trainable_names(config)
    for name in names:
        if name not in able:
            raise ParameterError(
                f"trainable must name {', '.join(able)} with feature {config.feature!r} and "
                f"scale {config.scale!r}, {name!r} would train nothing"
            )
    for other in ("window", "frequencies"):
        if {"basis", other} <= set(names):
            raise ParameterError(
                f"trainable must name basis or {other}, not both; "
                f"a trained basis holds its {other}"
            )
    return frozenset(names)


def basis_of(
    weights: Mapping[str, Tensor | None],
    config: SpectrogramConfig,
    trained: Collection[str],
    metadata: Mapping[str, Any],
) -> Basis:
    """Weights of a transform as data, copied to the host."""
    arrays = {
        name: weight.detach().to("cpu", torch.float32).numpy().copy()
        for name, weight in weights.items()
        if weight is not None
    }
    return Basis(config=config, trained=tuple(sorted(trained)), metadata=metadata, **arrays)


def _of_rows(
    config: SpectrogramConfig,
    rows: Callable[[], Tensor],
    frequencies: Tensor | None,
    mel: Tensor | None,
    is_fourier: bool = False,
) -> Start:
    taper = window(config)

    def basis() -> Tensor:
        return (rows() * taper).float()

    return Start(
        window=taper.float(),
        basis=basis,
        rows=rows,
        frequencies=frequencies.float() if frequencies is not None else None,
        mel=mel,
        is_fourier=is_fourier,
    )


def _random_rows(config: SpectrogramConfig, seed: int) -> Tensor:
    """White noise with the loudness of the Fourier rows, float64."""
    noise = torch.randn(
        2 * config.n_freqs,
        config.n_fft,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(seed),
    )
    return noise * math.sqrt(0.5)


def _from_basis(config: SpectrogramConfig, basis: Basis) -> Start:
    for name in _SAME:
        theirs, ours = getattr(basis.config, name), getattr(config, name)
        if theirs != ours:
            raise ParameterError(
                f"{name} must be {theirs}, that of the basis it starts from, got {ours}"
            )
    tensors = {name: torch.from_numpy(array).clone() for name, array in basis.tensors.items()}
    taper, stored = tensors["window"], tensors["basis"]
    # whoever wrote the file: what it says of its rows is believed where they bear it out
    is_fourier = _is_close(stored, unwindowed_basis(config) * taper)
    frequencies, rows = tensors.get("frequencies"), None
    if frequencies is not None:
        rows = partial(rows_at, frequencies.double(), config.n_fft)
        if not _is_close(stored, rows() * taper):
            frequencies = rows = None
    return Start(
        window=taper,
        basis=lambda: stored,
        rows=partial(unwindowed_basis, config) if is_fourier else rows,
        frequencies=frequencies,
        mel=tensors.get("mel"),
        is_fourier=is_fourier,
        pcen=tensors.get("pcen"),
        trained=basis.trained,
    )


def _is_close(left: Tensor, right: Tensor) -> bool:
    return bool((left - right).abs().max() <= _UNTRAINED)
