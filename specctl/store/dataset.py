"""A torch dataset over a store, safe in the workers of a ``DataLoader``."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from specctl.eager import eager
from specctl.errors import ParameterError

if TYPE_CHECKING:
    from specctl.store.reader import Store

_TIME = 1
"""Axis of the frames; parts of undecoded complex values come behind it."""


class Item(NamedTuple):
    """One item: ``spec`` (freq, time), ``label`` the index of its class, -1 without one.

    Complex ones of a store that was opened undecoded are (freq, time, 2).
    """

    spec: Tensor
    label: int
    key: str


class Batch(NamedTuple):
    """Items padded to the longest: ``spec`` (batch, freq, time), ``lengths`` and ``labels``
    (batch,) int64, and their keys."""

    spec: Tensor
    lengths: Tensor
    labels: Tensor
    keys: list[str]


class SpectrogramDataset(Dataset[Item]):
    """Items of a store in the order of their keys given, or of the store; on the CPU.

    Parameters
    ----------
    store : Store
        Each worker opens it for itself.
    keys : str or sequence of str, optional
        Items to take; all by default.
    frames : int, optional
        Give every item this many frames: longer ones are cropped, shorter ones padded at the end.
    crop : "random" or "first"
        Where the crop begins; random ones follow torch's seed.
    pad_value : float
        What padding holds, here and in `collate`.
    """

    def __init__(
        self,
        store: "Store",
        *,
        keys: str | Sequence[str] | None = None,
        frames: int | None = None,
        crop: Literal["random", "first"] = "random",
        pad_value: float = 0.0,
    ) -> None:
        is_number = isinstance(frames, Integral) and not isinstance(frames, bool)
        if frames is not None and not (is_number and frames >= 1):
            raise ParameterError(f"frames must be a whole number of at least 1, got {frames}")
        if crop not in ("random", "first"):
            raise ParameterError(f"crop must be 'random' or 'first', got {crop!r}")
        _check_pad_value(pad_value, store)
        self.store = store
        if isinstance(keys, str):
            # its characters are keys, too, perhaps
            keys = [keys]
        self.keys = list(store) if keys is None else list(keys)
        self.frames = frames
        self.crop = crop
        self.pad_value = pad_value
        self.classes = store.classes
        class_of = {label: number for number, label in enumerate(self.classes)}
        rows = [store.row(key) for key in self.keys]
        self.labels = [class_of.get(label, -1) for label in store.labels[rows]]
        self._starts, self._lengths = (store.column(name)[rows] for name in ("start", "length"))

    def __len__(self) -> int:
        return len(self.keys)

    @eager
    def __getitem__(self, number: int) -> Item:
        length = int(self._lengths[number])
        first, stop = 0, length
        if self.frames is not None and length > self.frames:
            if self.crop == "random":
                first = int(torch.randint(length - self.frames + 1, ()))
            stop = first + self.frames
        spec = torch.from_numpy(self.store.read(self.keys[number], first, stop))
        if self.frames is not None and length < self.frames:
            spec = _padded(spec, self.frames, self.pad_value)
        return Item(spec, self.labels[number], self.keys[number])

    def __getitems__(self, numbers: Sequence[int]) -> list[Item]:
        """Items of a batch, read in the order they lie on disk."""
        on_disk = sorted(range(len(numbers)), key=lambda i: int(self._starts[numbers[i]]))
        items = {i: self[numbers[i]] for i in on_disk}
        return [items[i] for i in range(len(numbers))]

    def collate(self, items: Sequence[Item]) -> Batch:
        """Join items to a batch; give it to a ``DataLoader`` as ``collate_fn``."""
        return collate(items, pad_value=self.pad_value)


@eager
def collate(items: Sequence[Item], pad_value: float = 0.0) -> Batch:
    """Join items to a batch, padded at the end to the longest."""
    lengths = [item.spec.shape[_TIME] for item in items]
    return Batch(
        spec=torch.stack([_padded(item.spec, max(lengths), pad_value) for item in items]),
        lengths=torch.tensor(lengths),
        labels=torch.tensor([item.label for item in items]),
        keys=[item.key for item in items],
    )


def _check_pad_value(value: float, store: "Store") -> None:
    """Refuse what would wrap around in the integers of a store that was opened undecoded.

    Or what torch would refuse in its floats, once it comes to an item that is to be padded.
    """
    kind = "float32" if store.decode else store.layout.dtype
    if store.layout.is_integer and not store.decode:
        codes = np.iinfo(kind)
        fits = codes.min <= value <= codes.max and value == int(value)
    else:
        fits = not math.isfinite(value) or abs(value) <= float(np.finfo(kind).max)
    if not fits:
        why = "" if store.decode else ", as the store is undecoded"
        raise ParameterError(f"pad_value must fit {kind}{why}, got {value}")


def _padded(spec: Tensor, n_frames: int, value: float) -> Tensor:
    """``spec`` with ``n_frames`` frames, shape (freq, n_frames), or (freq, n_frames, 2)."""
    n_bins, n_given, *parts = spec.shape
    padded = spec.new_full((n_bins, n_frames, *parts), value)
    padded[:, :n_given] = spec
    return padded
