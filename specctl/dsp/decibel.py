"""Logarithmic scales, always per item: an item never depends on its neighbours in a batch."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from specctl.config import SpectrogramConfig

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class LogScale:
    """``factor * (log10(max(value, amin)) - log10(max(ref, amin)))``, clipped at ``floor``.

    ``drop`` is how far below its own peak an item is cut, in the units of the result.
    """

    factor: float
    amin: float
    ref: float | Literal["max"]
    drop: float | None

    @classmethod
    def from_config(cls, config: SpectrogramConfig) -> Self | None:
        """The scale of a config, ``None`` where values stay linear."""
        if config.scale == "none" or config.amin is None or config.ref is None:
            return None
        # a decibel is 10 log10 of a power, so 20 log10 of a magnitude
        per_decade = 20.0 / (config.power or 2.0)
        factor = {"db": per_decade, "ln": math.log(10.0), "log10": 1.0}[config.scale]
        drop = None if config.top_db is None else config.top_db * factor / per_decade
        return cls(factor, config.amin, config.ref, drop)

    @property
    def offset(self) -> float:
        """What a fixed ``ref`` takes away from every value."""
        return 0.0 if self.ref == "max" else self.factor * math.log10(max(self.ref, self.amin))

    @property
    def needs_peak(self) -> bool:
        """Whether `finish` changes anything."""
        return self.ref == "max" or self.drop is not None

    def apply(self, values: "Tensor") -> "Tensor":
        """Logarithm against a fixed reference; element by element, differentiable."""
        logs = values.clamp_min(self.amin).log10() * self.factor
        return logs - self.offset if self.offset else logs

    def finish(self, logs: "Tensor", peak: "Tensor") -> "Tensor":
        """Refer to the peak and clip; ``peak`` is what `peaks` gives for the whole item."""
        if self.ref == "max":
            logs = logs - peak
            peak = peak.new_zeros(peak.shape)
        return logs if self.drop is None else logs.maximum(peak - self.drop)

    def finish_in_place(self, logs: np.ndarray, peak: np.float32) -> None:
        """`finish` for an array of one item, float32."""
        if self.ref == "max":
            logs -= peak
            peak = np.float32(0.0)
        if self.drop is not None:
            np.maximum(logs, peak - np.float32(self.drop), out=logs)


def peaks(logs: "Tensor") -> "Tensor":
    """Peak of each item: (…, freq, time) to (…, 1, 1)."""
    return logs.amax(dim=(-2, -1), keepdim=True)


def power_to_db(
    spec: "Tensor",
    ref: float | Literal["max"] = 1.0,
    amin: float = 1e-10,
    top_db: float | None = None,
) -> "Tensor":
    """Power to decibels, ``10 * log10(spec / ref)``.

    Parameters
    ----------
    spec : Tensor, shape (..., freq, time)
        Power; every item of the leading dimensions is treated alone.
    ref : float or "max"
        Power that becomes 0 dB; ``"max"`` takes the peak of each item.
    amin : float
        Powers below it count as ``amin``.
    top_db : float, optional
        Cut each item this far below its own peak.

    Returns
    -------
    Tensor, same shape
    """
    scale = LogScale(10.0, amin, ref, top_db)
    logs = scale.apply(spec)
    return scale.finish(logs, peaks(logs)) if scale.needs_peak else logs
