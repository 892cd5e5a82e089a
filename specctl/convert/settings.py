"""What a conversion is told: the transform, and how files become items of a store."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from specctl.basis import Basis
from specctl.basis.ordinary import is_ordinary
from specctl.config import Precision, SpectrogramConfig
from specctl.errors import ParameterError
from specctl.presets import preset
from specctl.settings import fill_in

Channels = Literal["mix", "each", "first"]
Tail = Literal["pad", "drop"]
StoredType = Literal["float32", "float16", "int16", "uint8"]
Compression = Literal["none", "gzip"]


_MAX_SEGMENT = 7200.0
"""Seconds: a long segment waits on the disk, where an hour at 48 kHz takes 700 MB."""
_HIGHEST_RATE = 2**20


class ConvertConfig(SpectrogramConfig):
    """Everything that decides which numbers stand in a store; the store keeps it.

    ``segment`` and ``overlap`` are in seconds; without ``segment`` a whole file (or channel) is
    an item. ``tail`` says what becomes of the rest that does not fill a segment: filled up with
    zeros, or dropped. ``basis`` is the fingerprint of a trained basis, if there is one.
    """

    channels: Channels
    segment: Annotated[float, Field(gt=0, le=_MAX_SEGMENT)] | None
    overlap: Annotated[float, Field(ge=0)] | None
    tail: Tail | None
    dtype: StoredType
    compression: Compression
    precision: Precision
    basis: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _check_job(self) -> Self:
        if self.segment is not None:
            if self.overlap is not None and self.overlap >= self.segment:
                raise ParameterError(
                    f"overlap must be below segment={self.segment:g} s, got {self.overlap:g}"
                )
            if self.segment_length < 1 or self.segment_step < 1:
                raise ParameterError(
                    f"segment and its step must be at least one sample, 1/{self.sample_rate} s, "
                    f"got segment {self.segment:g} s and overlap {self.overlap or 0:g} s"
                )
            if self.n_frames(self.segment_length) < 1:
                raise ParameterError(
                    f"segment must hold at least n_fft={self.n_fft} samples without centring, "
                    f"got {self.segment_length}"
                )
        if self.scale == "pcen" and self.dtype != "float32":
            raise ParameterError(f"dtype must be float32 with scale 'pcen', got {self.dtype!r}")
        if self.dtype in ("int16", "uint8") and self.feature == "mfcc":
            raise ParameterError(
                f"dtype must be float32 or float16 with feature 'mfcc', got {self.dtype!r}"
            )
        if self.dtype in ("int16", "uint8") and self.scale == "none":
            raise ParameterError(
                f"dtype must be float32 or float16 unless values are logarithmic, got "
                f"{self.dtype!r} with feature {self.feature!r} and scale {self.scale!r}"
            )
        return self

    @classmethod
    def filled_in(cls, given: Mapping[str, Any], preset_name: str | None = None) -> dict[str, Any]:
        """Every field's value for what was given, not yet checked."""
        values = super().filled_in(given, preset_name)
        for name, value in _DEFAULTS.items():
            fill_in(values, name, value)
        if values.get("segment") is None:
            for name in ("overlap", "tail"):
                if values.get(name) is not None:
                    raise ParameterError(f"{name} has no effect without segment")
                values[name] = None
            values["segment"] = None
        else:
            values["overlap"] = values.get("overlap") or 0.0
            values["tail"] = values.get("tail") or "pad"
        return values

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a store keeps them; no word of a basis where there is none."""
        values = super().to_dict()
        if self.basis is None:
            del values["basis"]
        return values

    @property
    def segment_length(self) -> int:
        """Samples of a segment, 0 without segments."""
        return round((self.segment or 0.0) * self.sample_rate)

    @property
    def segment_step(self) -> int:
        """Samples from the start of a segment to the start of the next."""
        return self.segment_length - round((self.overlap or 0.0) * self.sample_rate)

    @property
    def spectrogram(self) -> SpectrogramConfig:
        """The part that a transform needs."""
        return SpectrogramConfig.from_dict(
            self.model_dump(include=set(SpectrogramConfig.model_fields))
        )

    @property
    def units(self) -> str:
        """Unit of the stored values."""
        return {"db": "dB", "ln": "ln", "log10": "log10"}.get(self.scale, "1")

    @property
    def long_name(self) -> str:
        """What the stored values are, in words."""
        words = {
            "complex": "complex spectrum",
            "magnitude": "magnitude spectrogram",
            "power": "power spectrogram",
            "mel": "mel spectrogram",
            "mfcc": "mel-frequency cepstral coefficients",
        }[self.feature]
        if self.scale == "pcen":
            return f"{words}, per-channel energy normalised"
        return words if self.scale == "none" or self.feature == "mfcc" else f"log {words}"


_DEFAULTS: dict[str, Any] = {
    "channels": "mix",
    "dtype": "float32",
    "compression": "gzip",
    "precision": "fp32",
}


@dataclass(frozen=True, slots=True)
class GivenSettings:
    """Settings as given: keywords over a preset, with a sample rate or with ``"auto"``."""

    given: Mapping[str, Any]
    preset: str | None = None
    basis: Basis | None = None

    @property
    def finds_rate(self) -> bool:
        """Whether the sample rate is to be the most common one of the files."""
        if self.basis is not None:
            return False
        rate = self.given.get("sample_rate")
        if rate is None and self.preset is not None:
            return "sample_rate" not in preset(self.preset)
        return rate in (None, "auto")

    def resolve(self, found_rate: int) -> ConvertConfig:
        """Every setting, with ``found_rate`` where the rate is to be found."""
        if self.basis is not None:
            return self._with_basis(self.basis)
        given = dict(self.given)
        if self.finds_rate:
            given["sample_rate"] = found_rate
        elif given.get("sample_rate") == "auto":
            del given["sample_rate"]
        if self.finds_rate:
            # the rate may be none that was found, and decides which bins there are: `value_range`
            return ConvertConfig.from_dict(ConvertConfig.filled_in(given, self.preset))
        return ConvertConfig.resolve(self.preset, **given)

    def _with_basis(self, basis: Basis) -> ConvertConfig:
        """The settings of a basis; those given besides may not contradict it."""
        theirs = basis.config.model_dump()
        if self.preset is not None:
            raise ParameterError("preset has no effect with a basis, which has its own settings")
        for name in theirs:
            given = self.given.get(name)
            if given not in (None, "auto", theirs[name]):
                raise ParameterError(
                    f"{name} must be {theirs[name]}, that of the basis, got {given}"
                )
        others = {name: value for name, value in self.given.items() if name not in theirs}
        fingerprint = None if is_ordinary(basis) else basis.fingerprint()
        return ConvertConfig.resolve(
            None, **{**basis.config.given(), **others, "basis": fingerprint}
        )

    def early(self) -> ConvertConfig:
        """The settings before the rate is known: with one that leaves room for every fmax.

        Raises
        ------
        ParameterError
            For whatever can be seen to be wrong before a file is opened.
        """
        return self.resolve(_HIGHEST_RATE)

    def compared(
        self, stored: Mapping[str, Any], kernel: str, asked: str
    ) -> tuple[ConvertConfig, str]:
        """The settings, had they found the rate of a store, and in what they differ from its own.

        Parameters
        ----------
        stored : mapping
            Settings of the store, which may hold anything.
        kernel : str
            That made it, if it is known.
        asked : str
            ``auto`` takes that of the store.
        """
        config = self.resolve(stored_rate(stored) or _HIGHEST_RATE)
        here = kernel if asked == "auto" or not kernel else asked
        return config, _differences(
            {**stored, "kernel": kernel}, {**config.to_dict(), "kernel": here}
        )


def stored_rate(settings: Mapping[str, Any]) -> int:
    """The sample rate in the settings of a store, which may hold anything; 0 where it is none."""
    rate = settings.get("sample_rate")
    return rate if type(rate) is int and 0 < rate <= _HIGHEST_RATE else 0


def _differences(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The settings in which two configs differ, in words; empty if in none."""
    names = [name for name in {**stored, **wanted} if stored.get(name) != wanted.get(name)]
    return ", ".join(f"{name} {stored.get(name)} there, {wanted.get(name)} here" for name in names)


def value_range(config: ConvertConfig, peak_power: float) -> tuple[float, float]:
    """Lowest and highest value that audio within full scale can give.

    Parameters
    ----------
    peak_power : float
        Largest value of the feature before the logarithm, for samples in [-1, 1].

    Raises
    ------
    ParameterError
        If every mel band is empty.
    """
    if config.basis is None:
        config.check_bins()
    if config.scale in ("none", "pcen") or config.amin is None:
        low = -peak_power if config.is_complex else 0.0
        return low, peak_power
    per_decade = 20.0 / (config.power or 2.0)
    factor = {"db": per_decade, "ln": math.log(10.0), "log10": 1.0}[config.scale]
    floor = factor * math.log10(config.amin)
    top = factor * math.log10(max(peak_power, 2 * config.amin))
    if config.ref == "max":
        drop = config.top_db * factor / per_decade if config.top_db else top - floor
        return _cepstral(config, -drop, 0.0)
    offset = factor * math.log10(max(float(config.ref or 1.0), config.amin))
    return _cepstral(config, floor - offset, top - offset)


def _cepstral(config: ConvertConfig, low: float, high: float) -> tuple[float, float]:
    """The range after the cosine transform, where there is one."""
    if config.feature != "mfcc":
        return low, high
    largest = max(abs(low), abs(high)) * math.sqrt(config.n_mels or 1) * (1 + (config.lifter or 0))
    return -largest, largest
