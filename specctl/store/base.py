"""The store an update starts from: what stays of it, and its chunks with the rest blanked."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from specctl.store.chunks import ChunkCodec
from specctl.store.layout import FILL_VALUE, Layout
from specctl.store.stats import Moments, MomentsGatherer
from specctl.store.store_file import StoreFile
from specctl.store.tables import Table, encode_text, is_among, select_rows
from specctl.store.values import ValueDecoder


class Base:
    """A finished store without the items of some sources; a context manager.

    Parameters
    ----------
    path : Path
    replaced : collection of str
        Sources whose items leave.
    """

    def __init__(self, path: Path, replaced: Collection[str]) -> None:
        self.path = path
        self._file = StoreFile(path)
        self._replaced = {encode_text(source, "source") for source in replaced}
        self._is_gone = is_among(self._file.index["source"], self._replaced)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def layout(self) -> Layout:
        """How its rows are stored."""
        return self._file.layout

    @property
    def n_rows(self) -> int:
        """Rows, padding among them."""
        return self._file.n_rows

    def kept_items(self) -> Table:
        """Rows of its index that stay."""
        return select_rows(self._file.index, ~self._is_gone)

    def kept_failures(self, new_items: Sequence[Table]) -> Table:
        """Its failures, but those of sources that are replaced or that succeeded now."""
        gone = set(self._replaced)
        for table in new_items:
            gone.update(table["key"].tolist(), table["source"].tolist())
        return select_rows(self._file.errors, ~is_among(self._file.errors["key"], gone))

    def kept_moments(self) -> tuple[Moments, int]:
        """Moments of the items that stay, and how many items leave.

        Those of the leaving ones are taken away as their stored frames have them, so for rounded
        types the result is as exact as the rounding. Where too few digits would be left, such as
        after a loud item among quiet ones, the frames that stay are read instead.
        """
        left = self._moments_of(self._is_gone)
        with np.errstate(all="ignore"):
            moments = self._file.moments.without(left)
        if moments is None:
            moments = self._moments_of(~self._is_gone)
        return moments, int(self._is_gone.sum())

    def iter_chunks(self) -> Iterator[tuple[int, bytes | memoryview]]:
        """Row each chunk begins at and its bytes: as stored, or blanked and compressed anew."""
        codec = ChunkCodec(self.layout)
        size = self.layout.chunk_frames
        touched = self._blank_spans()
        for number in range(len(self._file.crc32)):
            if number not in touched:
                yield number * size, self._file.chunk(number)
                continue
            rows = self._file.chunk_rows(number).copy()
            for first, last in touched[number]:
                rows[first:last] = FILL_VALUE
            yield number * size, codec.encode(rows)

    def _moments_of(self, chosen: np.ndarray) -> Moments:
        """Moments of some items, from their stored frames."""
        total = Moments.empty(self.layout.width)
        gatherer = MomentsGatherer(self.layout.width)
        decode = ValueDecoder(self.layout)
        for start, length in self._row_spans(chosen):
            gatherer.reset()
            for first in range(start, start + length, self.layout.chunk_frames):
                last = min(first + self.layout.chunk_frames, start + length)
                gatherer.add(decode(self._file.rows(first, last)))
            total.add(gatherer.finish())
        return total

    def _row_spans(self, chosen: np.ndarray) -> list[tuple[int, int]]:
        """First row and number of rows of some items."""
        start, length = self._file.index["start"][chosen], self._file.index["length"][chosen]
        return list(zip(start.tolist(), length.tolist(), strict=True))

    def _blank_spans(self) -> dict[int, list[tuple[int, int]]]:
        """Rows to blank, by chunk and counted from its first row."""
        size = self.layout.chunk_frames
        spans: dict[int, list[tuple[int, int]]] = {}
        for start, length in self._row_spans(self._is_gone):
            for number in range(start // size, -(-(start + length) // size)):
                first, last = start - number * size, start + length - number * size
                spans.setdefault(number, []).append((max(first, 0), min(last, size)))
        return spans
