"""What every augmentation is: a module that changes some clips of a batch, each in its own way."""

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from specctl.augment.draws import Draws
from specctl.eager import eager
from specctl.errors import ParameterError

MAX_SAMPLE_RATE = 2**20
_OF_MODULES = {*vars(nn.Module()), "n_dims"}
SHAPES = {2: "(batch, samples)", 3: "(batch, freq, time)"}


class Augmentation(nn.Module):
    """Base of the augmentations; only in training mode does one change anything.

    Parameters
    ----------
    p : float
        Probability that a clip is changed, decided for each clip by itself.
    """

    n_dims: ClassVar[int] = 2  # of a batch

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_within("p", p, 0.0, 1.0)
        self.p = p

    @eager
    def forward(
        self,
        batch: Tensor,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Change a batch.

        Parameters
        ----------
        batch : Tensor, shape (batch, samples) or (batch, freq, time)
            Not changed in place.
        lengths : Tensor, shape (batch,), int64, optional
            Valid samples or frames of each clip, the rest is padding; all by default.
        generator : torch.Generator, optional
            On the CPU, whatever the device of the batch. By default that of torch.

        Returns
        -------
        Tensor
            Padded to the longest clip where an augmentation changes lengths.

        Raises
        ------
        ParameterError
            If the batch or the lengths have another shape, or a length is not within the batch.
        """
        check_batch(batch, self.n_dims)
        if lengths is None:
            lengths = torch.full((len(batch),), batch.shape[-1])
        draws = Draws.from_generator(len(batch), generator)
        return self.augment(batch, lengths, draws)[0]

    def augment(self, batch: Tensor, lengths: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """As ``forward``, with the numbers to draw from; gives the new lengths too (CPU)."""
        check_batch(batch, self.n_dims)
        lengths = read_lengths(lengths, batch)
        if not self.training:
            return batch, lengths
        chosen = (draws.uniform() < self.p).nonzero()[:, 0]
        if not len(chosen):
            return batch, lengths
        changed, new_lengths = self.change(
            batch[chosen.to(batch.device)], lengths[chosen], draws[chosen]
        )
        lengths = lengths.index_copy(0, chosen, new_lengths)
        width = max(batch.shape[-1], changed.shape[-1])
        result = nn.functional.pad(batch, (0, width - batch.shape[-1]))
        changed = nn.functional.pad(changed, (0, width - changed.shape[-1]))
        return result.index_copy(0, chosen.to(batch.device), changed), lengths

    def change(self, batch: Tensor, lengths: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Change all clips of a batch; what children define."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """What it was told."""
        told = {name: value for name, value in vars(self).items() if name not in _OF_MODULES}
        return ", ".join(f"{name}={value!r}" for name, value in told.items())


class Compose(Augmentation):
    """Several augmentations, one after the other.

    Parameters
    ----------
    augmentations : sequence of Augmentation
        All for waveforms or all for spectrograms.
    p : float
        Probability that a clip goes through them at all.
    """

    def __init__(self, augmentations: Sequence[Augmentation], p: float = 1.0) -> None:
        super().__init__(p)
        if not isinstance(augmentations, Iterable):
            raise ParameterError(
                "augmentations must be a sequence of augmentations, got "
                f"{type(augmentations).__name__}"
            )
        steps = list(augmentations)
        kinds = {each.n_dims if isinstance(each, Augmentation) else None for each in steps}
        if len(kinds) != 1 or None in kinds:
            raise ParameterError(
                "augmentations must all take waveforms or all take spectrograms, got "
                f"{', '.join(type(each).__name__ for each in steps) or 'none'}"
            )
        self.augmentations = nn.ModuleList(steps)
        self.n_dims = kinds.pop()  # type: ignore[misc]

    def change(self, batch: Tensor, lengths: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Each in its turn, with random numbers of its own."""
        for number, augmentation in enumerate(self.augmentations):
            step = cast("Augmentation", augmentation)
            batch, lengths = step.augment(batch, lengths, draws.fork(number))
        return batch, lengths


def valid(batch: Tensor, lengths: Tensor) -> Tensor:
    """Whether a sample or frame is within its clip; (batch, width) bool."""
    place = torch.arange(batch.shape[-1], device=batch.device)
    return place < lengths.to(batch.device)[:, None]


def check_within(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Refuse what is no finite number in [low, high]."""
    if not _is_finite(value):
        raise ParameterError(f"{name} must be a finite number, got {value!r}")
    if not low <= value <= high:
        rule = f"at least {low:g}" if high == math.inf else f"in [{low:g}, {high:g}]"
        raise ParameterError(f"{name} must be {rule}, got {value}")


def check_whole(name: str, value: float, low: int, high: int) -> None:
    """Refuse what is no whole number in [low, high]; 16.0 is one."""
    check_within(name, value, low)
    if value != int(value):
        raise ParameterError(f"{name} must be a whole number, got {value}")
    if value > high:
        raise ParameterError(f"{name} must be at most {high}, got {value}")


def check_range(kind: str, low: float, high: float) -> None:
    """Refuse a range that ends before it begins, or that has no ends."""
    if not (_is_finite(low) and _is_finite(high) and low <= high):
        raise ParameterError(
            f"min_{kind} must be at most max_{kind}, both finite, got {low!r} and {high!r}"
        )


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:
        # an integer that no float holds
        return False


def check_tensor(name: str, value: object) -> None:
    """Refuse arrays of other kinds."""
    if not isinstance(value, Tensor):
        raise ParameterError(f"{name} must be a torch.Tensor, got {type(value).__name__}")


def check_batch(batch: Tensor, n_dims: int) -> None:
    """Refuse a batch of another shape."""
    check_tensor("batch", batch)
    if batch.ndim != n_dims or not batch.is_floating_point():
        raise ParameterError(
            f"batch must be floating point of shape {SHAPES[n_dims]}, got {batch.dtype} of "
            f"shape {tuple(batch.shape)}"
        )


def read_lengths(lengths: Tensor, batch: Tensor) -> Tensor:
    """Lengths on the CPU, int64; refuses those that are not within the batch."""
    check_tensor("lengths", lengths)
    if lengths.shape != (len(batch),):
        raise ParameterError(
            f"lengths must have shape ({len(batch)},), one for each clip, got "
            f"{tuple(lengths.shape)}"
        )
    if lengths.dtype == torch.bool or lengths.is_floating_point() or lengths.is_complex():
        raise ParameterError(f"lengths must be whole numbers, got {lengths.dtype}")
    # a GPU is waited for here, once: how a batch is treated is decided on the CPU. Its values
    # are checked behind that, so on any device, and cost no second wait
    lengths = lengths.to("cpu", torch.int64)
    wrong = lengths[(lengths < 0) | (lengths > batch.shape[-1])]
    if len(wrong):
        raise ParameterError(f"lengths must be in [0, {batch.shape[-1]}], got {wrong[0]}")
    return lengths
