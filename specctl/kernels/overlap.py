"""Products of overlapping frames with a basis, in four fifths of the work or less.

Two frames whose distance is a piece of themselves share samples. With the pieces ``h0, h1, h2``
of both and the pieces ``b0, b1`` of the basis, three products do for four:

    m0 = b0 (h0 - h1)    m1 = (b0 + b1) h1    m2 = b1 (h2 - h1)
    b0 h0 + b1 h1 = m0 + m1                   b0 h1 + b1 h2 = m1 + m2

and the same again on each piece where it has two: nine for sixteen. What is left of a frame
behind its pieces is multiplied as it is. The gradient in the basis is a sum of products of the
same pieces. Nothing is multiplied but by 1 and -1, so what is lost is one bit or two of the
float32 sums.
"""

import math
from collections.abc import Iterator
from itertools import product as every
from typing import NamedTuple, Self

import torch
from torch import Tensor

_COVERED = ((0,), (0, 1), (1,))
"""Halves of the basis that make up each of three products, and halves of the frames it goes to."""

_WORTH = 0.9
"""Most of the work of plain products that a cut may take, frames that nobody wants included."""

_COLUMNS = 8
"""Products of a multiple of so many columns take no slower way at their edge."""

_CACHE_BYTES = 2**19
"""Of sums of pieces of the basis at a time, for each thread."""

_MIN_PIECE = 64
"""Samples of a piece: products of less depth are slow."""


class Overlap(NamedTuple):
    """How frames are cut.

    ``parts`` pieces a frame, and a rest; frames share pieces with those ``apart`` steps later.
    """

    n_fft: int
    hop_length: int
    parts: int
    apart: int

    @classmethod
    def of(cls, n_fft: int, hop_length: int, n_frames: int) -> Self | None:
        """The cut that saves most; ``None`` where none is worth it."""
        cuts = [cls(n_fft, hop_length, parts, n_fft // (parts * hop_length)) for parts in (4, 2)]
        fitting = [cut for cut in cuts if cut.piece >= _MIN_PIECE]
        best = min(fitting, key=lambda cut: cut.work(n_frames), default=None)
        return best if best is not None and best.work(n_frames) <= _WORTH else None

    def work(self, n_frames: int) -> float:
        """What so many frames take, as a share of plain products."""
        saved = 1 - 0.75 ** (self.parts // 2)
        share = 1 - saved * self.rest_start / self.n_fft
        return share * self.padded(n_frames) / n_frames

    @property
    def piece(self) -> int:
        """Samples of a piece."""
        return self.apart * self.hop_length

    @property
    def rest_start(self) -> int:
        """Samples of all pieces of a frame; what follows is its rest."""
        return self.parts * self.piece

    @property
    def unit(self) -> int:
        """Frames of the smallest stretch that shares pieces."""
        return self.parts * self.apart

    @property
    def group(self) -> int:
        """Frames of the smallest stretch that is computed by itself."""
        return self.parts * math.lcm(self.apart, _COLUMNS)

    def padded(self, n_frames: int) -> int:
        """The number of frames in whole groups."""
        return -(-n_frames // self.group) * self.group

    @property
    def exact(self) -> "Overlap":
        """The cut in halves, whose products are as good as those of whole frames."""
        return self._replace(parts=2, apart=self.apart * self.parts // 2)

    def blocks(self, n_frames: int, at_most: int) -> Iterator[tuple[int, int]]:
        """First frame and number of frames of blocks of whole groups, as even as can be."""
        n_groups = self.padded(n_frames) // self.group
        n_blocks = -(-n_groups * self.group // max(at_most, self.group))
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

    def refined(self, values: Tensor) -> Tensor:
        """Columns (rows, n) as `exact` arranges them, arranged anew."""
        if self.parts == 2:
            return values
        columns = values.view(len(values), 2, -1, 2, self.apart)
        return columns.transpose(2, 3).reshape(values.shape)

    def differences(self, samples: Tensor, n_frames: int) -> list[Tensor]:
        """What is multiplied of a block of so many frames of each item (..., n_samples).

        (n // parts, piece) for each product, and (n, rest) as `arranged`, if there is any; with
        the frames of all items.
        """
        levels = self.parts // 2
        step = self.parts * self.piece
        halves = [step // 2, step // 4][:levels]
        shape = [*samples.shape[:-1], n_frames // self.unit, self.apart]
        strides = [*samples.stride()[:-1], step, self.hop_length]
        start = samples.storage_offset()
        columns = [
            samples.as_strided([*shape, *[3] * levels, self.piece], [*strides, *halves, 1], start)
        ]
        for _ in range(levels):
            columns = [piece for each in columns for piece in _three(each, len(shape))]
        found = [piece.reshape(-1, self.piece) for piece in columns]
        n_rest = self.n_fft - self.rest_start
        if n_rest:
            rests = samples.as_strided(
                [self.parts, *shape, n_rest], [self.piece, *strides, 1], start + self.rest_start
            )
            found.append(rests.reshape(-1, n_rest))
        return found

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
        return list(torch.split(basis[:, : self.rest_start], self.piece, dim=1))


def _three(blocks: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Along an axis: what the middle one is less, itself, what it is more."""
    before, middle, after = blocks.unbind(axis)
    return before - middle, middle, after - middle


def fill_products(overlap: Overlap, basis: Tensor, differences: list[Tensor], out: Tensor) -> None:
    """Fill (rows, n) with the products of a basis (rows, n_fft) and the frames of a block.

    ``differences`` are theirs; columns are as `Overlap.arranged` puts them.
    """
    by_part = overlap.by_part(out)
    products = list(zip(overlap.covered(), differences, strict=False))
    rests = differences[len(products) :]
    # those that go to most frames first, so that they can be written and not added
    products.sort(key=lambda each: -len(each[0]))
    for rows in _few_rows(overlap, basis):
        parts = overlap.columns(basis[rows])
        places = list(by_part[rows].unbind(1))
        is_empty = [True] * len(places)
        for covered, difference in products:
            weight = _sum_of(parts, covered)
            if len(covered) == 1:
                places[covered[0]].addmm_(weight, difference.T)
                continue
            shared = torch.mm(weight, difference.T)
            for place in covered:
                target = places[place]
                target.copy_(shared) if is_empty[place] else target.add_(shared)
                is_empty[place] = False
        for rest in rests:
            out[rows].addmm_(basis[rows, overlap.rest_start :], rest.T)


def add_gradient(
    overlap: Overlap, gradient: Tensor, differences: list[Tensor], total: Tensor
) -> None:
    """Add to (rows, n_fft) what a gradient (rows, n) in `fill_products` gives in the basis."""
    by_part, products = overlap.by_part(gradient), overlap.covered()
    for rows in _few_rows(overlap, total):
        parts = list(by_part[rows].unbind(1))
        targets = overlap.columns(total[rows])
        for covered, difference in zip(products, differences, strict=False):
            if len(covered) == 1:
                targets[covered[0]].addmm_(parts[covered[0]], difference)
                continue
            shared = torch.mm(_sum_of(parts, covered), difference)
            for part in covered:
                targets[part].add_(shared)
        for rest in differences[len(products) :]:
            total[rows, overlap.rest_start :].addmm_(gradient[rows], rest)


def _few_rows(overlap: Overlap, basis: Tensor) -> Iterator[slice]:
    """All rows, a few at a time.

    Sums of their pieces cost less than memory for all of them would, as they never leave the
    second-level cache.
    """
    n_bytes = _CACHE_BYTES * torch.get_num_threads()
    step = max(1, n_bytes // (overlap.piece * basis.element_size()))
    for first in range(0, len(basis), step):
        yield slice(first, first + step)


def _sum_of(parts: list[Tensor], chosen: tuple[int, ...]) -> Tensor:
    total = parts[chosen[0]]
    if len(chosen) == 1:
        return total
    total = total + parts[chosen[1]]
    for number in chosen[2:]:
        total += parts[number]
    return total
