"""A basis as one record: weights, the settings they belong to, and where they come from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from specctl.config import SpectrogramConfig
from specctl.errors import ParameterError

TENSORS = ("basis", "window", "frequencies", "mel", "pcen")
"""Weights a basis may have, in the order they are hashed."""

_MAX_METADATA_BYTES = 1_000_000
"""Of a header, which may have 2**20: what else there is takes far less than the difference."""

TRAINABLE = TENSORS
"""Weights that may be trained: all of them."""


@dataclass(frozen=True, eq=False)
class Basis:
    """Trained weights; `specctl.basis` says what each holds.

    Raises
    ------
    ParameterError
        If a shape does not fit the config, or a number is not finite or out of range.
    """

    config: SpectrogramConfig
    basis: np.ndarray
    window: np.ndarray
    frequencies: np.ndarray | None = None
    mel: np.ndarray | None = None
    pcen: np.ndarray | None = None
    trained: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = tensor_shapes(self.config)
        for name, array in self.tensors.items():
            _check_array(name, array, shapes.get(name))
        for name, shape in shapes.items():
            if name != "frequencies" and getattr(self, name) is None:
                raise ParameterError(f"{name} must be an array of shape {shape}, it is missing")
        unknown = set(self.trained) - set(TRAINABLE)
        if unknown:
            raise ParameterError(
                f"trained must name {', '.join(TRAINABLE)}, got {', '.join(sorted(unknown))}"
            )
        if self.pcen is not None and not ((self.pcen > 0).all() and (self.pcen[3] < 1).all()):
            raise ParameterError("pcen must be above 0, and its smoothing below 1")

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays there are, by name."""
        values = {name: getattr(self, name) for name in TENSORS}
        return {name: value for name, value in values.items() if value is not None}

    def __repr__(self) -> str:
        """What was trained of how large a basis; not its thousands of numbers."""
        shapes = ", ".join(f"{name} {array.shape}" for name, array in self.tensors.items())
        trained = ", ".join(self.trained) or "nothing"
        return f"<Basis {self.fingerprint()[:12]}: {shapes}; trained: {trained}>"

    def fingerprint(self) -> str:
        """SHA-256 over settings and weights: equal means the same numbers come out."""
        digest = hashlib.sha256(self.config.to_json().encode())
        for name, array in self.tensors.items():
            digest.update(f"{name} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array, dtype="<f4").data)
        return digest.hexdigest()


def tensor_shapes(config: SpectrogramConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every weight that a basis with these settings may have."""
    shapes: dict[str, tuple[int, ...]] = {
        "basis": (2 * config.n_freqs, config.n_fft),
        "window": (config.n_fft,),
        "frequencies": (config.n_freqs,),
    }
    if config.n_mels is not None:
        shapes["mel"] = (config.n_mels, config.n_freqs)
    if config.scale == "pcen":
        shapes["pcen"] = (4, config.n_bins)
    return shapes


def checked_metadata(values: Mapping[str, Any]) -> str:
    """Metadata as JSON; ParameterError where JSON or a basis file cannot hold it."""
    try:
        text = json.dumps(dict(values), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"metadata must be plain JSON values: {error}") from error
    # a header is JSON itself, which escapes this once more
    n_bytes = len(json.dumps(text))
    if n_bytes > _MAX_METADATA_BYTES:
        raise ParameterError(
            f"metadata must be at most {_MAX_METADATA_BYTES:,} bytes in a file, got {n_bytes:,}"
        )
    return text


def _check_array(name: str, array: np.ndarray, shape: tuple[int, ...] | None) -> None:
    if shape is None:
        raise ParameterError(f"{name} has no place in a basis with these settings")
    if array.dtype != np.float32 or array.shape != shape:
        raise ParameterError(
            f"{name} must be float32 of shape {shape}, got {array.dtype} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ParameterError(f"{name} must be finite, it holds NaN or infinity")
