"""Augmentations by name, as ``--augment`` gives them."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import nn

from specctl import augment
from specctl.errors import ParameterError

_NAMES: dict[str, Callable[..., nn.Module]] = {
    "gain": augment.Gain,
    "noise": augment.GaussianNoise,
    "shift": augment.Shift,
    "pitch": augment.PitchShift,
    "stretch": augment.TimeStretch,
    "specaugment": augment.SpecAugment,
    "mixup": augment.Mixup,
}


class Augmentations(NamedTuple):
    """What is done to waveforms, to spectrograms, and to pairs of clips."""

    waveform: augment.Augmentation | None = None
    spectrogram: augment.Augmentation | None = None
    mixup: augment.Mixup | None = None


def build_augmentations(texts: Sequence[str], sample_rate: int) -> Augmentations:
    """Augmentations from texts such as ``"gain"`` or ``"shift:max_shift=0.1,rollover=false"``.

    Raises
    ------
    ParameterError
        For an unknown name or parameter, a value out of range, or one of them given twice: the
        second would be added or would count alone, and nobody could tell which was meant.
    """
    names = [text.partition(":")[0] for text in texts]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ParameterError(f"augment must name each once, got {name!r} twice")
    built = [_build(text, sample_rate) for text in texts]
    kinds: dict[int, list[augment.Augmentation]] = {2: [], 3: []}
    mixup = None
    for each in built:
        if isinstance(each, augment.Augmentation):
            kinds[each.n_dims].append(each)
        elif isinstance(each, augment.Mixup):
            mixup = each
    waveform, spectrogram = (
        augment.Compose(kinds[n_dims]) if kinds[n_dims] else None for n_dims in (2, 3)
    )
    return Augmentations(waveform, spectrogram, mixup)


def _build(text: str, sample_rate: int) -> nn.Module:
    name, _, rest = text.partition(":")
    if name not in _NAMES:
        raise ParameterError(f"augment must name one of {', '.join(_NAMES)}, got {name!r}")
    known = dict(inspect.signature(_NAMES[name]).parameters)
    given = {"sample_rate": sample_rate} if known.pop("sample_rate", None) else {}
    for part in filter(None, rest.split(",")):
        parameter, _, value = part.partition("=")
        if parameter not in known:
            raise ParameterError(
                f"augment {name!r} has the parameters {', '.join(known)}, got {parameter!r}"
            )
        if parameter in given:
            raise ParameterError(f"augment {name!r} must give {parameter!r} once, got it twice")
        given[parameter] = _value(f"{name}:{parameter}", value, known[parameter].default)
    return _NAMES[name](**given)


def _value(name: str, text: str, default: Any) -> Any:
    """A text as a value of the type of the default."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ParameterError(f"augment {name} must be true or false, got {text!r}")
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    try:
        return int(text) if isinstance(default, int) else float(text)
    except ValueError as error:
        raise ParameterError(f"augment {name} must be a number, got {text!r}") from error
