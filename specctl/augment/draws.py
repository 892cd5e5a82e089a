"""Random numbers of which each clip has its own: equal whatever stands beside it in a batch.

A number is a hash of the clip's seed, of which draw it is and of its place in the draw. So a
batch may be cut anywhere, computed on any device or in several processes, and every clip still
gets what it would get alone.
"""

import math
from typing import Self

import torch
from torch import Tensor

_GOLDEN = -0x61C8864680B583EB  # 2**64 / golden ratio, as a signed number
_MULTIPLIERS = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
_SHIFTS = (30, 27, 31)


class Draws:
    """A source of random numbers for a batch, one seed for each clip.

    Parameters
    ----------
    seeds : Tensor, shape (batch,), int64
        Kept on the CPU: what is drawn decides how a batch is treated, and asking a GPU for it
        would make the program wait.

    References
    ----------
    Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.
    """

    def __init__(self, seeds: Tensor, n_drawn: int = 0) -> None:
        self._seeds = seeds.to("cpu", torch.int64)
        self._n_drawn = n_drawn

    @classmethod
    def from_generator(cls, n_clips: int, generator: torch.Generator | None = None) -> Self:
        """Seeds drawn from a CPU generator, by default that of torch."""
        return cls(torch.randint(2**62, (n_clips,), generator=generator))

    @classmethod
    def keyed(cls, *keys: int | Tensor) -> Self:
        """Seeds made of numbers, for example of a run, an epoch and the index of each clip."""
        seeds = torch.zeros(1, dtype=torch.int64)
        for key in keys:
            seeds = _mixed(seeds + _GOLDEN + torch.as_tensor(key, dtype=torch.int64))
        return cls(seeds)

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, chosen: Tensor | slice) -> "Draws":
        """Draws of some of the clips; they go on where these are."""
        return Draws(self._seeds[chosen], self._n_drawn)

    def fork(self, number: int) -> "Draws":
        """Draws that have nothing to do with these or with those of another number."""
        return Draws(_mixed(_mixed(self._seeds) + _step(number)))

    def uniform(self, low: float | Tensor = 0.0, high: float | Tensor = 1.0) -> Tensor:
        """One number in [low, high) for each clip; (batch,) float64 on the CPU."""
        drawn: Tensor = _to_unit(self._next()) * (high - low) + low
        return drawn

    def integers(self, high: int | Tensor) -> Tensor:
        """One of 0 to ``high`` for each clip, both ends included; (batch,) int64."""
        high = torch.as_tensor(high)
        return torch.minimum((self.uniform() * (high + 1)).floor().to(torch.int64), high)

    def normal(self, n_values: int, device: torch.device) -> Tensor:
        """Numbers of the standard normal distribution; (batch, n_values) float32.

        The first of them do not depend on how many there are.
        """
        place = torch.arange((n_values + 1) // 2, device=device) * _GOLDEN
        radius_key = self._next().to(device)[:, None]
        angle_key = self._next().to(device)[:, None]
        # 1 - u is never 0, whose logarithm would be infinite
        radius = (-2.0 * torch.log1p(-_to_unit(_mixed(radius_key + place)))).sqrt().float()
        angle = (2.0 * math.pi * _to_unit(_mixed(angle_key + place))).float()
        pairs = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=2)
        return pairs.flatten(1)[:, :n_values]

    def seeds(self) -> list[int]:
        """One number in [0, 2**32) for each clip, to seed something else with."""
        return [int(seed) % 2**32 for seed in self._next()]

    def _next(self) -> Tensor:
        self._n_drawn += 1
        return _mixed(self._seeds + _step(self._n_drawn))


def _step(number: int) -> int:
    """``number`` golden steps, modulo 2**64, as a signed number."""
    return (number * _GOLDEN + 2**63) % 2**64 - 2**63


def _mixed(bits: Tensor) -> Tensor:
    """The finaliser of SplitMix64: every bit of the input turns half of the output's."""
    for shift, multiplier in zip(_SHIFTS[:2], _MULTIPLIERS, strict=True):
        bits = (bits ^ _shifted(bits, shift)) * multiplier
    mixed: Tensor = bits ^ _shifted(bits, _SHIFTS[2])
    return mixed


def _shifted(bits: Tensor, n_bits: int) -> Tensor:
    """Logical shift to the right; that of int64 would carry the sign along."""
    shifted: Tensor = (bits >> n_bits) & (2 ** (64 - n_bits) - 1)
    return shifted


def _to_unit(bits: Tensor) -> Tensor:
    """The upper 53 bits as a number in [0, 1), float64."""
    unit: Tensor = _shifted(bits, 11).to(torch.float64) * 2.0**-53
    return unit
