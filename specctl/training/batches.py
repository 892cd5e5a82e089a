"""Batches of crops: which clips, from where, in what order; all of it a matter of seeds."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from specctl.augment import Draws
from specctl.training.clips import Clips

_MOST_CROPS = 8  # of a clip in evaluation
_CROP, _AUGMENT = 0, 1  # what random numbers are for


class Batch(NamedTuple):
    """Crops of equal width.

    ``waveform`` is (batch, samples), zeros behind ``lengths``; ``labels`` are indexes of
    classes; ``draws`` are the random numbers of the clips.
    """

    waveform: Tensor
    lengths: Tensor
    labels: Tensor
    draws: Draws

    def part(self, first: int, stop: int) -> "Batch":
        """Some of the crops."""
        part = slice(first, stop)
        return Batch(self.waveform[part], self.lengths[part], self.labels[part], self.draws[part])


class TrainBatches:
    """Random crops of the training clips in random order.

    Every number is a function of the seed, the epoch and the clip, so a batch can be made
    again at any time, in part or whole.

    Parameters
    ----------
    clips : Clips
    chosen : sequence of int
        Which of them.
    labels : sequence of int
        Index of the class of every clip in ``clips``.
    crop_length : int
        In samples.
    batch_size : int
        All batches are as large; what is left over at the end of an epoch is left out of it.
    seed : int

    Attributes
    ----------
    batch_size : int
        Clips of a batch: those asked for, or all there are.
    """

    def __init__(
        self,
        clips: Clips,
        chosen: Sequence[int],
        labels: Sequence[int],
        *,
        crop_length: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self._clips = clips
        self._chosen = torch.tensor(chosen)
        self._labels = labels
        self._crop_length = crop_length
        self.batch_size = min(batch_size, len(chosen))
        self._seed = seed

    @property
    def n_per_epoch(self) -> int:
        """Batches of an epoch."""
        return len(self._chosen) // self.batch_size

    def read(self, step: int, rank: int = 0, n_ranks: int = 1) -> Batch:
        """The part of one of ``n_ranks`` processes in the batch of a step, counted from 0."""
        epoch, number = divmod(step, self.n_per_epoch)
        keys = Draws.keyed(self._seed, epoch, self._chosen).uniform()
        batch = self._chosen[keys.argsort()][number * self.batch_size :][: self.batch_size]
        mine = batch.tensor_split(n_ranks)[rank]
        draws = Draws.keyed(self._seed, epoch, mine)
        spare = [max(0, self._clips.n_samples[i] - self._crop_length) for i in mine.tolist()]
        starts = draws.fork(_CROP).integers(torch.tensor(spare))
        crops = zip(mine.tolist(), starts.tolist(), strict=True)
        waveform, lengths = _gather(self._clips, crops, len(mine), self._crop_length)
        labels = torch.tensor([self._labels[i] for i in mine.tolist()])
        return Batch(waveform, lengths, labels, draws.fork(_AUGMENT))


def evaluation_crops(clips: Clips, index: int, crop_length: int) -> tuple[Tensor, Tensor]:
    """Crops that cover a clip evenly, at most eight; (crops, samples) and their lengths."""
    n_samples = clips.n_samples[index]
    n_crops = min(_MOST_CROPS, max(1, -(-n_samples // crop_length)))
    spare = max(0, n_samples - crop_length)
    starts = [spare * i // max(1, n_crops - 1) for i in range(n_crops)]
    return _gather(clips, ((index, start) for start in starts), n_crops, crop_length)


def _gather(
    clips: Clips, crops: Iterable[tuple[int, int]], n_crops: int, width: int
) -> tuple[Tensor, Tensor]:
    waveform = torch.zeros(n_crops, width)
    lengths = torch.zeros(n_crops, dtype=torch.int64)
    for row, (index, start) in enumerate(crops):
        samples = clips.read(index, start, width)
        waveform[row, : len(samples)] = samples
        lengths[row] = len(samples)
    return waveform, lengths
