"""What a training is told, besides the settings of the spectrogram."""

import os
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from specctl.config import Precision
from specctl.errors import ParameterError
from specctl.settings import Settings

Fraction = Annotated[float, Field(ge=0, le=1)]

Weight = Annotated[float, Field(ge=0)]

Rate = Annotated[float, Field(gt=0, le=1e30)]
"""The optimiser needs steps that float32 holds; its first are ten times the rate."""

Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)
]

MOST_RUNS = 2**20

_MAX_CROP = 3600.0
"""Seconds: a crop is padded in memory, where an hour at 48 kHz takes 700 MB."""


def _path_as_text(given: object) -> object:
    return os.fspath(given) if isinstance(given, os.PathLike) else given


class TrainSettings(Settings, allow_inf_nan=False):
    """Everything that decides which numbers come out of a training.

    ``train`` names the weights of the front end that are trained; ``basis_lr`` is their
    learning rate, which rises linearly over the first ``warmup`` of all steps; ``lr`` is that of
    the model. Both fall to 0 along half a cosine. ``crop`` is in seconds. ``precision`` is that
    of the model; the front end computes in float32 always. ``max_grad_norm`` bounds the norm of
    the gradients of front end and model, each by itself. ``keep_near``, ``unit_norm`` and
    ``orthogonality`` weigh what is added to the loss as trained weights leave their start, as
    rows change their norm, and as rows point in the same direction.
    """

    train: Names = ("basis",)
    init: Annotated[str, BeforeValidator(_path_as_text)] = "fourier"
    model: str = "cnn"
    epochs: PositiveInt = 20
    batch_size: PositiveInt = 32
    lr: Rate = 1e-3
    basis_lr: Rate = 1e-3
    warmup: Fraction = 0.1
    max_grad_norm: PositiveFloat = 5.0
    weight_decay: Weight = 1e-4
    keep_near: Weight = 0.0
    unit_norm: Weight = 0.0
    orthogonality: Weight = 0.0
    crop: Annotated[PositiveFloat, Field(le=_MAX_CROP)] = 1.0
    augment: Names = ()
    runs: Annotated[int, Field(gt=0, le=MOST_RUNS)] = 3
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    verdict: bool = True
    precision: Precision = "fp32"
    checkpoint_every: PositiveInt = 50

    @model_validator(mode="after")
    def _check_penalties(self) -> Self:
        for name in ("unit_norm", "orthogonality"):
            if getattr(self, name) and "basis" not in self.train:
                raise ParameterError(
                    f"{name} has no effect with train {','.join(self.train)}; "
                    "it is of the rows of a basis that is trained"
                )
        return self
