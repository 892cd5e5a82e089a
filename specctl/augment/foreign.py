"""Augmentations of other libraries that take one NumPy array at a time."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from specctl.augment.base import MAX_SAMPLE_RATE, Augmentation, check_whole, valid
from specctl.augment.draws import Draws
from specctl.errors import ParameterError


class ArrayTransform(Protocol):
    """What an audiomentations transform looks like when it is called."""

    def __call__(self, *, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """(samples,) float32 to the same."""
        ...


class FromAudiomentations(Augmentation):
    """An audiomentations transform as an augmentation; clip by clip, on the CPU.

    Parameters
    ----------
    transform : callable
        Called as ``transform(samples=..., sample_rate=...)`` with float32 (samples,). It is
        called for every clip; its own ``p`` decides what is changed.
    sample_rate : int
        In Hz.

    Notes
    -----
    Such transforms draw from the generators of ``random`` and ``numpy.random``. These are
    seeded for each clip and put back afterwards. A transform may change the length of a clip.
    """

    def __init__(self, transform: ArrayTransform, sample_rate: int) -> None:
        super().__init__(p=1.0)
        if not callable(transform):
            raise ParameterError(f"transform must be callable, got {transform!r}")
        check_whole("sample_rate", sample_rate, 1, MAX_SAMPLE_RATE)
        self.transform = transform
        self.sample_rate = int(sample_rate)

    def change(self, batch: Tensor, lengths: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The valid part of each clip."""
        arrays = batch.detach().to("cpu", torch.float32).numpy()
        changed = []
        with _kept_states():
            for array, length, seed in zip(arrays, lengths.tolist(), draws.seeds(), strict=True):
                random.seed(seed)
                np.random.seed(seed)
                samples = array[:length].copy()
                changed.append(self.transform(samples=samples, sample_rate=self.sample_rate))
        new_lengths = torch.tensor([len(array) for array in changed])
        result = batch.new_zeros(len(batch), max(batch.shape[-1], int(new_lengths.max())))
        for row, array in zip(result, changed, strict=True):
            row[: len(array)] = torch.from_numpy(array.copy()).to(row)
        return result * valid(result, new_lengths), new_lengths


@contextmanager
def _kept_states() -> Iterator[None]:
    """Put the generators of the process back as they were."""
    python_state = random.getstate()
    numpy_state: Any = np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
