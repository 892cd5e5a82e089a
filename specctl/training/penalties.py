"""What is added to the loss so that trained weights stay sensible."""

import torch
from torch import Tensor

from specctl.training.settings import TrainSettings
from specctl.transforms import Transform
from specctl.transforms.regularisers import (
    clip_negative,
    distance_from_start,
    norm_penalty,
    orthogonality_penalty,
)


class Penalties:
    """Penalties of the trained weights of a front end, relative to what they are now.

    Parameters
    ----------
    front_end : Transform
    settings : TrainSettings
        ``keep_near``, ``unit_norm`` and ``orthogonality`` are read.
    """

    def __init__(self, front_end: Transform, settings: TrainSettings) -> None:
        self._front_end = front_end
        self._settings = settings
        self._starts = {
            name: weight.detach().clone()
            for name, weight in front_end.named_parameters()
            if weight.requires_grad
        }

    def total(self) -> Tensor | None:
        """Their weighted sum, differentiable; None where there is none."""
        settings, parts = self._settings, []
        if settings.keep_near:
            weights = dict(self._front_end.named_parameters())
            parts += [
                settings.keep_near * distance_from_start(weights[name], start)
                for name, start in self._starts.items()
            ]
        basis = self._front_end.basis
        if basis is not None and "basis" in self._starts:
            if settings.unit_norm:
                parts.append(settings.unit_norm * norm_penalty(basis, self._starts["basis"]))
            if settings.orthogonality:
                parts.append(settings.orthogonality * orthogonality_penalty(basis))
        return torch.stack(parts).sum() if parts else None

    def project(self) -> None:
        """After a step: weights of bands are not negative."""
        if "mel" in self._starts and self._front_end.mel is not None:
            clip_negative(self._front_end.mel)
