"""Settings: frozen, checked, and resolved once, so that nothing below has to guess.

``resolve`` turns what was given (a preset, a file, keywords) into a config in which every
field holds the number that is used. A field that has no meaning for the chosen feature is
``None``; giving one all the same is an error, because it would change nothing.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from specctl.errors import ParameterError
from specctl.presets import PRESETS, preset

Window = Literal["hann", "hamming", "blackman", "boxcar"]
PadMode = Literal["constant", "reflect", "edge"]
Feature = Literal["complex", "magnitude", "power", "mel", "mfcc"]
MelScale = Literal["slaney", "htk"]
MelNorm = Literal["slaney", "none"]
Scale = Literal["none", "db", "ln", "log10"]
Precision = Literal["fp32", "tf32", "bf16"]

_Model = TypeVar("_Model", bound=BaseModel)

DEFAULT_SAMPLE_RATE = 22050
"""Rate that a transform built from keywords assumes, in Hz; ``librosa.load`` uses the same."""

_MEL_FIELDS = {
    "n_mels": 128,
    "fmin": 0.0,
    "fmax": None,
    "mel_scale": "slaney",
    "mel_norm": "slaney",
}
_MFCC_FIELDS = {"n_mfcc": 20, "lifter": 0}
_EXPONENTS: dict[Feature, float | None] = {"complex": None, "magnitude": 1.0, "power": 2.0}


class StftConfig(BaseModel, frozen=True, extra="forbid"):
    """Short-time Fourier transform settings; lengths are in samples.

    Every field holds the value that is used: `resolve` fills in the derived ones,
    so a stored config never has to be guessed at.
    """

    sample_rate: PositiveInt
    n_fft: Annotated[int, Field(ge=2, le=2**20)]
    win_length: PositiveInt
    hop_length: PositiveInt
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
    feature; ``top_db`` cuts each item that many decibels below its own peak.
    """

    feature: Feature
    power: PositiveFloat | None
    n_mels: PositiveInt | None
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
        if self.n_mfcc is not None and self.n_mels is not None and self.n_mfcc > self.n_mels:
            raise ParameterError(f"n_mfcc must be in [1, n_mels={self.n_mels}], got {self.n_mfcc}")
        return self

    @classmethod
    def resolve(cls, preset: str | None = None, **given: Any) -> Self:
        """Fill in everything that was not given.

        Parameters
        ----------
        preset : str, optional
            Name of a preset (see `specctl.presets`); keywords win over it.
        **given
            Any field of this class.

        Raises
        ------
        ParameterError
            For an unknown name, a value outside its range, or a setting that would have no
            effect on the chosen feature.
        """
        return checked(cls, cls.filled_in(given, preset))

    @classmethod
    def filled_in(cls, given: Mapping[str, Any], preset_name: str | None = None) -> dict[str, Any]:
        """Every field's value for what was given, not yet checked."""
        base = preset(preset_name) if preset_name is not None else {}
        values = {**base, **given}
        check_known(values, cls)
        _default(values, "feature", "mel")
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
        _fill_stft(values)
        _fill_feature(values, feature)
        return values

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a store keeps them."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """One line of JSON with sorted keys."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Check what `to_dict` gave; every field must be there."""
        return checked(cls, values)

    def fingerprint(self) -> str:
        """SHA-256 over the resolved settings: equal means the same numbers come out."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, as keywords for ``resolve``.

    Raises
    ------
    ParameterError
        If the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"cannot read settings: {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(f"settings are not TOML: {path}: {error}") from error


def check_known(values: Mapping[str, Any], model: type[BaseModel]) -> None:
    """Refuse names that ``model`` does not have, with the nearest one named."""
    for name in values:
        if name not in model.model_fields:
            import difflib

            near = difflib.get_close_matches(name, model.model_fields, n=1)
            hint = f"; did you mean {near[0]}" if near else ""
            raise ParameterError(f"there is no setting {name!r}{hint}")


def checked(model: type[_Model], values: Mapping[str, Any]) -> _Model:
    """Build ``model``, with pydantic's complaint turned into one line of ours."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, ParameterError):
            raise cause from error
        name = ".".join(str(part) for part in first["loc"][:1])
        rule = first["msg"].removeprefix("Input should ").lower()
        if first["type"] == "missing":
            raise ParameterError(f"setting {name!r} is missing") from error
        rule = rule if rule.startswith("be ") else f"be valid ({rule})"
        raise ParameterError(f"{name} must {rule}, got {first['input']!r}") from error


def _without_effect(feature: Feature, scale: Scale | None) -> list[str]:
    names = []
    if feature not in ("mel", "mfcc"):
        names += [*_MEL_FIELDS, "power"]
    if feature != "mfcc":
        names += _MFCC_FIELDS
    if feature == "complex" or (scale or _default_scale(feature)) == "none":
        names += ["ref", "amin", "top_db"]
    return names


def _why_not(feature: Feature, values: Mapping[str, Any], name: str) -> str:
    if name in ("ref", "amin", "top_db") and feature != "complex":
        return f"scale {values.get('scale') or _default_scale(feature)!r}"
    return f"feature {feature!r}"


def _default_scale(feature: Feature) -> Scale:
    return "db" if feature in ("mel", "mfcc") else "none"


def _fill_stft(values: dict[str, Any]) -> None:
    _default(values, "sample_rate", DEFAULT_SAMPLE_RATE)
    _default(values, "n_fft", 2048)
    _default(values, "win_length", values["n_fft"])
    if isinstance(values["win_length"], int):
        _default(values, "hop_length", max(1, values["win_length"] // 4))
    _default(values, "window", "hann")
    _default(values, "center", True)
    _default(values, "pad_mode", "constant")


def _fill_feature(values: dict[str, Any], feature: Feature) -> None:
    if feature in _EXPONENTS:
        values["power"] = _EXPONENTS[feature]
    else:
        _default(values, "power", 2.0)
        for name, value in _MEL_FIELDS.items():
            _default(values, name, value)
        _default(values, "fmax", values["sample_rate"] / 2)
    if feature == "mfcc":
        for name, value in _MFCC_FIELDS.items():
            _default(values, name, value)
    _default(values, "scale", _default_scale(feature))
    if feature == "complex" and values["scale"] != "none":
        raise ParameterError(
            f"scale must be 'none' with feature 'complex', got {values['scale']!r}"
        )
    if values["scale"] != "none":
        _default(values, "ref", 1.0)
        _default(values, "amin", 10.0 ** (-5.0 * values["power"]))
        # librosa.feature.mfcc clips at 80 dB; everything else is left whole
        values.setdefault("top_db", 80.0 if feature == "mfcc" else None)


def _default(values: dict[str, Any], name: str, value: object) -> None:
    if values.get(name) is None:
        values[name] = value


__all__ = [
    "PRESETS",
    "Precision",
    "SpectrogramConfig",
    "StftConfig",
    "checked",
    "read_settings",
]
