"""Products of overlapping frames with a basis, in three quarters of the work or less.

Where the step divides half a frame, two frames half a frame apart share samples. With the halves
``h0, h1, h2`` of both and the halves ``b0, b1`` of the basis, three products do for four:

    m0 = b0 (h0 - h1)    m1 = (b0 + b1) h1    m2 = b1 (h2 - h1)
    b0 h0 + b1 h1 = m0 + m1                   b0 h1 + b1 h2 = m1 + m2

and the same again on each half where the step divides a quarter: nine for sixteen. The gradient
in the basis is a sum of products of the same pieces. Nothing is multiplied but by 1 and -1, so
what is lost is one bit or two of the float32 sums.
"""

import math
from collections.abc import Iterator
from itertools import product as every
from typing import NamedTuple, Self

import torch
from torch import Tensor

_COVERED = ((0,), (0, 1), (1,))
"""Halves of the basis that make up each of three products, and halves of the frames it goes to."""

_WORTH = 1.25
"""Most frames computed for each one wanted; groups of frames have to be whole."""

_BLOCK_FRAMES = 1024
"""Many, since sums of the basis and in its gradient are made once a block."""

_COLUMNS = 8
"""Products of a multiple of so many columns take no slower way at their edge."""

_CACHE_BYTES = 2**19
"""Of sums of pieces of the basis at a time, for each thread."""

_MIN_PIECE = 64
"""Samples of a piece: products of less depth are slow."""


class Overlap(NamedTuple):
    """How frames are cut.

    ``parts`` pieces a frame, and as many frames ``apart`` steps from each other share pieces.
    """

    n_fft: int
    hop_length: int
    parts: int

    @classmethod
    def of(cls, n_fft: int, hop_length: int, n_frames: int) -> Self | None:
        """The cut that saves most; ``None`` where none saves anything."""
        for parts in (4, 2):
            overlap = cls(n_fft, hop_length, parts)
            fits = n_fft % (parts * hop_length) == 0 and n_fft // parts >= _MIN_PIECE
            if fits and overlap.padded(n_frames) <= _WORTH * n_frames:
                return overlap
        return None

    @property
    def piece(self) -> int:
        """Samples of a piece."""
        return self.n_fft // self.parts

    @property
    def apart(self) -> int:
        """Frames from one to the next that shares pieces with it."""
        return self.piece // self.hop_length

    @property
    def group(self) -> int:
        """Frames of the smallest stretch that is computed together."""
        return self.parts * math.lcm(self.apart, _COLUMNS)

    def padded(self, n_frames: int) -> int:
        """The number of frames in whole groups."""
        return -(-n_frames // self.group) * self.group

    def blocks(self, n_frames: int) -> Iterator[tuple[int, int]]:
        """First frame and number of frames of blocks of whole groups, as even as can be."""
        n_groups = self.padded(n_frames) // self.group
        n_blocks = -(-n_groups * self.group // max(_BLOCK_FRAMES, self.group))
        ends = [n_groups * (block + 1) // n_blocks * self.group for block in range(n_blocks)]
        for first, end in zip([0, *ends[:-1]], ends, strict=True):
            yield first, end - first

    def arranged(self, values: Tensor) -> Tensor:
        """Columns (rows, n) in the order of time so that those of one product lie together."""
        columns = values.view(len(values), -1, self.parts, self.apart)
        return columns.transpose(1, 2).reshape(values.shape)

    def by_part(self, columns: Tensor) -> Tensor:
        """Columns (rows, n) as `arranged` puts them: (rows, parts, n // parts), a view."""
        return columns.view(len(columns), self.parts, -1)

    def natural(self, values: Tensor) -> Tensor:
        """Columns (rows, n) as `arranged` puts them back into the order of time."""
        columns = values.view(len(values), self.parts, -1, self.apart)
        return columns.transpose(1, 2).reshape(values.shape)

    def lengthened(self, samples: Tensor, n_frames: int) -> Tensor:
        """Samples (n,) with zeros after them where whole groups of frames need more."""
        n_samples = (self.padded(n_frames) - 1) * self.hop_length + self.n_fft
        return torch.nn.functional.pad(samples, (0, max(0, n_samples - len(samples))))

    def differences(self, samples: Tensor, first: int, n_frames: int) -> list[Tensor]:
        """What is multiplied, (n_frames // parts, piece) for each product."""
        levels = self.parts // 2
        shape = [n_frames // self.parts // self.apart, self.apart, *[3] * levels, self.piece]
        halves = [self.n_fft // 2, self.n_fft // 4][:levels]
        strides = [self.n_fft, self.hop_length, *halves, 1]
        blocks = samples[first * self.hop_length :].as_strided(shape, strides)
        columns = [blocks]
        for _ in range(levels):
            columns = [piece for each in columns for piece in _three(each)]
        return [piece.reshape(-1, self.piece) for piece in columns]

    def covered(self) -> list[tuple[int, ...]]:
        """Parts of the basis, and of the frames, that each product is of."""
        if self.parts == 2:
            return list(_COVERED)
        return [
            tuple(2 * i + j for i, j in every(outer, inner))
            for outer, inner in every(_COVERED, _COVERED)
        ]

    def columns(self, basis: Tensor) -> list[Tensor]:
        """Views of (rows, n_fft), one for each piece."""
        return list(torch.split(basis, self.piece, dim=1))


def _three(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Along the third axis: what the middle one is less, itself, what it is more."""
    before, middle, after = blocks.unbind(2)
    return before - middle, middle, after - middle


class OverlapProducts:
    """Products with a basis, and the gradient in it.

    Sums of pieces of the basis are made and used a few rows at a time: they cost less than memory
    for them would, as they never leave the second-level cache.

    Parameters
    ----------
    basis : Tensor, shape (rows, n_fft)
    overlap : Overlap
    """

    def __init__(self, basis: Tensor, overlap: Overlap) -> None:
        self._basis = basis
        self._overlap = overlap
        self._covered = overlap.covered()
        n_bytes = _CACHE_BYTES * torch.get_num_threads()
        step = max(1, n_bytes // (overlap.piece * basis.element_size()))
        self._rows = [slice(first, first + step) for first in range(0, len(basis), step)]

    def products(self, differences: list[Tensor], out: Tensor) -> None:
        """Fill (rows, n) with the products of frames with the basis, columns as `arranged`."""
        out = self._overlap.by_part(out)
        # those that go to most frames first, so that they can be written and not added
        numbers = sorted(range(len(differences)), key=lambda n: -len(self._covered[n]))
        for rows in self._rows:
            parts = self._overlap.columns(self._basis[rows])
            places = list(out[rows].unbind(1))
            is_empty = [True] * len(places)
            for number in numbers:
                covered, difference = self._covered[number], differences[number]
                weight = _sum_of(parts, covered)
                if len(covered) == 1:
                    places[covered[0]].addmm_(weight, difference.T)
                    continue
                shared = torch.mm(weight, difference.T)
                for place in covered:
                    target = places[place]
                    target.copy_(shared) if is_empty[place] else target.add_(shared)
                    is_empty[place] = False

    def add_gradient(self, gradient: Tensor, differences: list[Tensor], total: Tensor) -> None:
        """Add to (rows, n_fft) what the gradient (rows, n) in `products` gives."""
        gradient = self._overlap.by_part(gradient)
        for rows in self._rows:
            parts = list(gradient[rows].unbind(1))
            targets = self._overlap.columns(total[rows])
            for covered, difference in zip(self._covered, differences, strict=True):
                if len(covered) == 1:
                    targets[covered[0]].addmm_(parts[covered[0]], difference)
                    continue
                shared = torch.mm(_sum_of(parts, covered), difference)
                for part in covered:
                    targets[part].add_(shared)


def _sum_of(parts: list[Tensor], chosen: tuple[int, ...]) -> Tensor:
    total = parts[chosen[0]]
    if len(chosen) == 1:
        return total
    total = total + parts[chosen[1]]
    for number in chosen[2:]:
        total += parts[number]
    return total
