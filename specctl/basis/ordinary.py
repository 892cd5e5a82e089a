"""Whether a basis is what its settings give anyway, so that nothing of it need be loaded."""

import math
from pathlib import Path

import numpy as np

from specctl.basis.checks import is_state_dict
from specctl.basis.file import load_basis
from specctl.basis.record import Basis
from specctl.config import SpectrogramConfig
from specctl.dsp.mel import mel_weights
from specctl.dsp.windows import taper
from specctl.errors import BasisError

# float32 rounds rows by 6e-8; nothing that was trained is said to be within this by its file
_ROUNDING = 1e-6


def is_ordinary(basis: Basis) -> bool:
    """Whether nothing of it was trained and every weight is the one its settings start with."""
    config = basis.config
    if basis.trained or not np.array_equal(basis.window, taper(config).astype(np.float32)):
        return False
    if basis.mel is not None and not np.array_equal(basis.mel, mel_weights(config)):
        return False
    if np.abs(basis.basis - _fourier(config)).max() > _ROUNDING:
        return False
    # a file cannot say so, but one that was edited by hand may hold anything
    return basis.pcen is None or bool((np.ptp(basis.pcen, axis=1) == 0).all())


def read_basis(path: Path | str, config: SpectrogramConfig) -> Basis:
    """A basis file, or the weights of another library, which ``config`` are the settings of.

    Raises
    ------
    BasisError
        If it cannot be read.
    ParameterError
        If the weights of another library do not fit the settings.
    """
    if not is_state_dict(path):
        return load_basis(path)
    # torch is needed for these alone
    from specctl.basis.foreign import read_state_dict

    return read_state_dict(path, config)


def checked_basis(path: str | None, fingerprint: str, config: SpectrogramConfig) -> Basis:
    """Load a basis that another process has loaded before, with these settings.

    Raises
    ------
    BasisError
        If it is not the same any more, or there is no file.
    """
    if path is None:
        raise BasisError(f"basis {fingerprint} is needed, no basis file was given")
    basis = read_basis(path, config)
    if basis.fingerprint() != fingerprint:
        raise BasisError(f"{path} has changed since the conversion began; start it anew")
    return basis


def _fourier(config: SpectrogramConfig) -> np.ndarray:
    turns = np.outer(np.arange(config.n_freqs), np.arange(config.n_fft)) % config.n_fft
    angle = turns * (2 * math.pi / config.n_fft)
    return np.asarray(np.concatenate([np.cos(angle), -np.sin(angle)]) * taper(config))
