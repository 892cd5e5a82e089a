"""Settings: frozen, checked, and resolved once, so that nothing below has to guess.

``resolve`` turns what was given (a preset, a file, keywords) into a config in which every
field holds the number that is used. A field that has no meaning for the chosen feature is
``None``; giving one all the same is an error, because it would change nothing.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from specctl.errors import ParameterError
from specctl.settings import Settings, fill_in

Window = Literal["hann", "hamming", "blackman", "boxcar"]
PadMode = Literal["constant", "reflect", "edge"]
Feature = Literal["complex", "magnitude", "power", "mel", "mfcc"]
MelScale = Literal["slaney", "htk"]
MelNorm = Literal["slaney", "none"]
Scale = Literal["none", "db", "ln", "log10", "pcen"]
Precision = Literal["fp32", "tf32", "bf16"]

DEFAULT_SAMPLE_RATE = 22050
"""Rate that a transform built from keywords assumes, in Hz; ``librosa.load`` uses the same."""

_MEL_FIELDS = {
    "n_mels": 128,
    "fmin": 0.0,
    "fmax": None,
    "mel_scale": "slaney",
    "mel_norm": "slaney",
}
_MAX_MEL_WEIGHTS = 2**27
"""Half a gigabyte of float32; settings may be a stranger's."""

_POWERS = 1e-3, 32.0
"""Beyond these, decibels and the peak of an ``n_fft`` of 2**20 leave float64."""

_SMALLEST_AMIN = 2.0**-126
"""The least normal float32 number; a smaller floor may count as 0, whose logarithm is infinite."""

_LARGEST_AMIN = 2.0**128 - 2.0**104
"""The largest float32 number."""

_MFCC_FIELDS = {"n_mfcc": 20, "lifter": 0}
_EXPONENTS: dict[Feature, float | None] = {"complex": None, "magnitude": 1.0, "power": 2.0}


class StftConfig(Settings, allow_inf_nan=False):
    """Short-time Fourier transform settings; lengths are in samples.

    Every field holds the value that is used: `resolve` fills in the derived ones,
    so a stored config never has to be guessed at.
    """

    sample_rate: Annotated[int, Field(gt=0, le=2**20)]
    n_fft: Annotated[int, Field(ge=2, le=2**20)]
    win_length: PositiveInt
    hop_length: Annotated[int, Field(gt=0, le=2**24)]
    window: Window
    center: bool
    pad_mode: PadMode

    @model_validator(mode="after")
    def _check_window_fits(self) -> Self:
        if self.win_length > self.n_fft:
            raise ParameterError(
                f"win_length must be in [1, n_fft={self.n_fft}], got {self.win_length}"
            )
        return self

    @classmethod
    def filled_in(cls, given: Mapping[str, Any], preset_name: str | None = None) -> dict[str, Any]:
        """Every field's value for what was given, not yet checked."""
        values = super().filled_in(given, preset_name)
        fill_in(values, "sample_rate", DEFAULT_SAMPLE_RATE)
        fill_in(values, "n_fft", 2048)
        fill_in(values, "win_length", values["n_fft"])
        fill_in(values, "hop_length", max(1, int(_number(values["win_length"])) // 4))
        fill_in(values, "window", "hann")
        fill_in(values, "center", True)
        fill_in(values, "pad_mode", "constant")
        return values

    @property
    def n_freqs(self) -> int:
        """Bins of the one-sided spectrum."""
        return self.n_fft // 2 + 1

    @property
    def padding(self) -> int:
        """Samples added before and after the waveform."""
        return self.n_fft // 2 if self.center else 0

    def n_frames(self, n_samples: int) -> int:
        """Frames that a waveform of ``n_samples`` gives; 0 where it is too short for one."""
        padded = n_samples + 2 * self.padding
        if n_samples < 1 or padded < self.n_fft:
            return 0
        return 1 + (padded - self.n_fft) // self.hop_length


class SpectrogramConfig(StftConfig):
    """A whole chain: STFT, feature, scale. `resolve` builds one from what a user gives.

    ``power`` is the exponent of the magnitude (``None`` for complex spectra); ``ref`` is a
    number or ``"max"`` for the peak of each item; ``amin`` is a floor in the units of the
    feature; ``top_db`` cuts each item that many decibels below its own peak, and not if it is
    ``None``, to `resolve` also ``"none"``. With scale ``"pcen"``, ``amin`` is what is added to the
    running mean.
    """

    feature: Feature
    power: Annotated[float, Field(ge=_POWERS[0], le=_POWERS[1])] | None
    n_mels: Annotated[int, Field(gt=0, le=2**14)] | None
    fmin: Annotated[float, Field(ge=0)] | None
    fmax: PositiveFloat | None
    mel_scale: MelScale | None
    mel_norm: MelNorm | None
    n_mfcc: PositiveInt | None
    lifter: Annotated[float, Field(ge=0)] | None
    scale: Scale
    ref: PositiveFloat | Literal["max"] | None
    amin: PositiveFloat | None
    top_db: PositiveFloat | None

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        if self.fmin is not None and self.fmax is not None:
            nyquist = self.sample_rate / 2
            if self.fmax > nyquist:
                raise ParameterError(
                    f"fmax must be at most half the sample rate, {nyquist:g} Hz, got {self.fmax:g}"
                )
            if self.fmin >= self.fmax:
                raise ParameterError(f"fmin must be below fmax={self.fmax:g}, got {self.fmin:g}")
        if (self.n_mels or 0) * self.n_freqs > _MAX_MEL_WEIGHTS:
            raise ParameterError(
                f"n_mels must be at most {_MAX_MEL_WEIGHTS // self.n_freqs} with "
                f"n_fft={self.n_fft}, got {self.n_mels}"
            )
        if self.n_mfcc is not None and self.n_mels is not None and self.n_mfcc > self.n_mels:
            raise ParameterError(f"n_mfcc must be in [1, n_mels={self.n_mels}], got {self.n_mfcc}")
        return self

    @model_validator(mode="after")
    def _check_floor(self) -> Self:
        if self.amin is not None and self.amin < _SMALLEST_AMIN:
            raise ParameterError(
                f"amin must be at least {_SMALLEST_AMIN:.3g}, the least normal number of float32, "
                f"got {self.amin}"
            )
        if self.amin is not None and self.amin > _LARGEST_AMIN:
            raise ParameterError(
                f"amin must be at most {_LARGEST_AMIN:.3g}, the largest number of float32, "
                f"got {self.amin}"
            )
        return self

    @model_validator(mode="after")
    def _check_complete(self) -> Self:
        # `resolve` sees to it; a config that was stored may be anybody's
        unused = _without_effect(self.feature, self.scale)
        for name in (*_MEL_FIELDS, *_MFCC_FIELDS, "ref", "amin"):
            value = getattr(self, name)
            if (value is None) != (name in unused):
                rule = "be absent" if name in unused else "be a value"
                raise ParameterError(
                    f"{name} must {rule} with feature {self.feature!r} and scale "
                    f"{self.scale!r}, got {value!r}"
                )
        if self.scale == "pcen" and self.feature != "mel":
            raise ParameterError(f"feature must be 'mel' with scale 'pcen', got {self.feature!r}")
        wanted = _EXPONENTS.get(self.feature, self.power or "a value")
        if self.power != wanted:
            raise ParameterError(
                f"power must be {wanted} with feature {self.feature!r}, got {self.power}"
            )
        return self

    @classmethod
    def resolve(cls, preset: str | None = None, **given: Any) -> Self:
        """Fill in everything that was not given; see `Settings.resolve`.

        Raises
        ------
        ParameterError
            As there, and if every mel band would be empty.
        """
        config = super().resolve(preset, **given)
        config.check_bins()
        return config

    @classmethod
    def filled_in(cls, given: Mapping[str, Any], preset_name: str | None = None) -> dict[str, Any]:
        """Every field's value for what was given, not yet checked."""
        if given.get("top_db") == "none":
            # as the command line and TOML, which has no null, say it
            given = {**given, "top_db": None}
        values = super().filled_in(given, preset_name)
        fill_in(values, "feature", "mel")
        feature: Feature = values["feature"]
        if feature not in get_args(Feature):
            raise ParameterError(
                f"feature must be one of {', '.join(get_args(Feature))}, got {feature!r}"
            )
        for name in _without_effect(feature, values.get("scale")):
            if given.get(name) is not None:
                reason = _why_not(feature, values, name)
                raise ParameterError(f"{name} has no effect with {reason}")
            values[name] = None
        _fill_feature(values, feature)
        return values

    def check_bins(self) -> None:
        """Raise ParameterError if every mel band is empty, since no bin of the FFT lies in them.

        Settings that were stored are not held to it: they may be those of trained bands.
        """
        if self.fmin is None or self.fmax is None:
            return
        step = self.sample_rate / self.n_fft
        # at its edges a band is 0
        if (math.floor(self.fmin / step) + 1) * step >= self.fmax:
            raise ParameterError(
                f"fmin and fmax must have a bin of the FFT between them for n_mels={self.n_mels}, "
                f"bins are {step:g} Hz apart with n_fft={self.n_fft}, got {self.fmin:g} and "
                f"{self.fmax:g}; raise n_fft"
            )

    def given(self) -> dict[str, Any]:
        """Plain values that `resolve` to these settings: all that have an effect."""
        unused = _without_effect(self.feature, self.scale)
        return {name: value for name, value in self.to_dict().items() if name not in unused}

    @property
    def n_bins(self) -> int:
        """Rows of the result."""
        return self.n_mfcc or self.n_mels or self.n_freqs

    @property
    def is_complex(self) -> bool:
        """Whether the result is complex."""
        return self.feature == "complex"

    @property
    def needs_peak(self) -> bool:
        """Whether a value depends on the peak of its whole item."""
        return self.ref == "max" or self.top_db is not None


def _without_effect(feature: Feature, scale: Scale | None) -> list[str]:
    names = []
    if feature not in ("mel", "mfcc"):
        names += [*_MEL_FIELDS, "power"]
    if feature != "mfcc":
        names += _MFCC_FIELDS
    if feature == "complex" or (scale or _default_scale(feature)) == "none":
        names += ["ref", "amin", "top_db"]
    elif scale == "pcen":
        names += ["ref", "top_db"]
    return names


def _why_not(feature: Feature, values: Mapping[str, Any], name: str) -> str:
    if name in ("ref", "amin", "top_db") and feature != "complex":
        return f"scale {values.get('scale') or _default_scale(feature)!r}"
    return f"feature {feature!r}"


def _default_scale(feature: Feature) -> Scale:
    return "db" if feature in ("mel", "mfcc") else "none"


def _number(value: object) -> float:
    """What another setting is derived from; what is no number is refused by name afterwards."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return 1.0
    return number if math.isfinite(number) else 1.0


def _fill_feature(values: dict[str, Any], feature: Feature) -> None:
    if feature in _EXPONENTS:
        values["power"] = _EXPONENTS[feature]
    else:
        fill_in(values, "power", 2.0)
        for name, value in _MEL_FIELDS.items():
            fill_in(values, name, value)
        fill_in(values, "fmax", _number(values["sample_rate"]) / 2)
    if feature == "mfcc":
        for name, value in _MFCC_FIELDS.items():
            fill_in(values, name, value)
    fill_in(values, "scale", _default_scale(feature))
    if feature == "complex" and values["scale"] != "none":
        raise ParameterError(
            f"scale must be 'none' with feature 'complex', got {values['scale']!r}"
        )
    if values["scale"] == "pcen":
        if feature != "mel":
            raise ParameterError(f"feature must be 'mel' with scale 'pcen', got {feature!r}")
        fill_in(values, "amin", 1e-6)
    elif values["scale"] != "none":
        fill_in(values, "ref", 1.0)
        floor = 10.0 ** (-5.0 * max(0.0, _number(values["power"])))
        fill_in(values, "amin", max(floor, _SMALLEST_AMIN))
        # librosa.feature.mfcc clips at 80 dB; everything else is left whole
        values.setdefault("top_db", 80.0 if feature == "mfcc" else None)
