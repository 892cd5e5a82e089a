"""Settings in general: resolved, checked, read and written, told apart."""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar, get_type_hints

from pydantic import BaseModel, ValidationError, ValidationInfo, create_model, field_validator

from specctl.errors import ParameterError
from specctl.given_files import MAX_SETTINGS_BYTES, check_given
from specctl.presets import preset

_Model = TypeVar("_Model", bound=BaseModel)


class Typed(BaseModel):
    """Values of fixed types; a boolean, which is a number to Python, is none here."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _check_number(
        cls, value: object, check: Callable[[object], Any], info: ValidationInfo
    ) -> Any:
        taken = check(value)
        # NumPy's is no `bool`, but has its name
        if type(value).__name__ in ("bool", "bool_") and not isinstance(taken, bool):
            raise ParameterError(f"{info.field_name} must be a number, got {value}")
        return taken


class Settings(Typed, frozen=True, extra="forbid"):
    """What all settings can do: be resolved, read, written, and told apart."""

    def __init__(self, **values: Any) -> None:
        """Take every field as it is given; `resolve` is what fills in those that are not.

        Raises
        ------
        ParameterError
            If a field is missing.
        """
        for name, field in type(self).model_fields.items():
            if field.is_required() and name not in values:
                made_by = f"{type(self).__name__}.resolve"
                raise ParameterError(
                    f"setting {name!r} is missing; {made_by} fills in what is not given"
                )
        super().__init__(**values)

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
        """Every field's value for what was given, not yet checked.

        ``None`` takes nothing away that the preset gives.
        """
        check_known(given, cls)
        base = preset(preset_name) if preset_name is not None else {}
        base = {name: base[name] for name in base if name in cls.model_fields}
        return {**base, **{n: v for n, v in given.items() if v is not None or n not in base}}

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Resolve the settings in a TOML file; ``preset`` in it names one to begin with."""
        given = read_settings(path)
        return cls.resolve(given.pop("preset", None), **given)

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
        If the file is missing, too large, or is not TOML.
    """
    check_given(path, "settings", MAX_SETTINGS_BYTES)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ParameterError(f"cannot read settings: {path}: {error.strerror}") from error
    except RecursionError as error:
        raise ParameterError(f"settings are not TOML: {path}: nested too deeply") from error
    except ValueError as error:
        # of TOML, of UTF-8, and of numbers with thousands of digits
        reason = str(error).partition(";")[0]
        raise ParameterError(f"settings are not TOML: {path}: {reason}") from error


def check_known(values: Mapping[str, Any], model: type[BaseModel]) -> None:
    """Refuse names that ``model`` does not have, with the nearest one named."""
    for name in values:
        if name not in model.model_fields:
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
        rule = rule if rule.startswith("be ") else f"be valid ({rule})"
        raise ParameterError(f"{name} must {rule}, got {first['input']!r}") from error


def check_fields(options: Any, **taken: Any) -> None:
    """Hold the values of a frozen dataclass, or what they are taken for, against their types."""
    given = {name: getattr(options, name) for name in options.__dataclass_fields__}
    for name, value in checked(_types_of(options.__class__), given | taken):
        object.__setattr__(options, name, value)


@cache
def _types_of(kind: type) -> type[BaseModel]:
    fields: dict[str, Any] = {name: (each, ...) for name, each in get_type_hints(kind).items()}
    return create_model(kind.__name__, __base__=Typed, **fields)


def fill_in(values: dict[str, Any], name: str, value: object) -> None:
    """Give a setting its default where nothing was given."""
    if values.get(name) is None:
        values[name] = value
