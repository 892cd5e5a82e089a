"""The store an update starts from: what stays of it, and its chunks with the rest blanked.

What leaves may be damaged: nothing is taken from it. Another program may have written all chunks
anew, compressed otherwise: a repair takes what matches its digest, and compresses it as it was.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from specctl.errors import StoreError
from specctl.store.chunks import ChunkCodec, checksum
from specctl.store.examine import Span, examine, spans
from specctl.store.hdf5 import is_from_system
from specctl.store.layout import FILL_VALUE, FailureRecord, Layout
from specctl.store.stats import Moments
from specctl.store.store_file import StoreFile
from specctl.store.tables import (
    ERROR_TYPES,
    Table,
    encode_text,
    failure_table,
    is_among,
    item_record,
    join_tables,
    relabelled,
    select_rows,
)
from specctl.words import counted, shell_command


class Base:
    """A finished store without the items of some sources, or some items; a context manager.

    Parameters
    ----------
    path : Path
    layout : Layout
        The one that its chunks are to have.
    replaced : collection of str
        Sources whose items leave.
    relabelled : dict, optional
        Sources to the label that their items get.
    forgotten : collection of str
        Keys of items that leave as well. Their sources count as failed, so that an update makes
        them again as soon as it can.
    is_trusted : bool
        Whether it is taken to be good. Of one that is not, what matches its digest is good, and
        statistics are made anew of that; a chunk that holds anything else stays as it is, with the
        checksum that shows it.

    Raises
    ------
    StoreError
        The store cannot be read, its index does not match its checksum, or its layout is another
        one: of a store that is not trusted, in more than its compression.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        replaced: Collection[str],
        relabelled: Mapping[str, str] | None = None,
        *,
        forgotten: Collection[str] = (),
        is_trusted: bool = True,
    ) -> None:
        self.path = path
        self.layout = layout
        self._is_trusted = is_trusted
        self._file = StoreFile(path)
        self._is_recoded = self._file.layout.compression != layout.compression
        try:
            # what is made of it gets a checksum that fits
            self._file.check_tables()
            self._check_layout()
        except StoreError:
            self._file.close()
            raise
        self._codec = ChunkCodec(layout)
        self._replaced = {encode_text(source, "source") for source in replaced}
        self._labels = {
            encode_text(source, "source"): label for source, label in (relabelled or {}).items()
        }
        keys = {encode_text(key, "key") for key in forgotten}
        self._is_forgotten = is_among(self._file.index["key"], keys)
        self._is_gone = is_among(self._file.index["source"], self._replaced) | self._is_forgotten
        self._damaged: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def n_rows(self) -> int:
        """Rows, padding among them."""
        return self._file.n_rows

    def kept_items(self) -> Table:
        """Rows of its index that stay, with the labels that they get."""
        items = select_rows(self._file.index, ~self._is_gone)
        return relabelled(items, self._labels) if self._labels else items

    def kept_failures(self, new_items: Sequence[Table]) -> Table:
        """Its failures, but those of sources that are replaced or that succeeded now."""
        gone = set(self._replaced)
        for table in new_items:
            gone.update(table["key"].tolist(), table["source"].tolist())
        kept = select_rows(self._file.errors, ~is_among(self._file.errors["key"], gone))
        return join_tables([kept, failure_table(self._forgotten())], ERROR_TYPES)

    def _forgotten(self) -> list[FailureRecord]:
        """The sources of the items that are forgotten, as failures."""
        rows = np.flatnonzero(self._is_forgotten)
        records = [item_record(self._file.index, int(row)) for row in rows]
        counts = Counter(record.source for record in records)
        sources = {record.source: record for record in records}
        return [
            FailureRecord(
                key=source,
                reason=f"{counted(counts[source], 'item')} forgotten, damaged in the store",
                size=record.size,
                mtime_ns=record.mtime_ns,
            )
            for source, record in sources.items()
        ]

    def kept_moments(self) -> Moments:
        """Moments of the items that stay.

        Where frames leave, those that stay are read again. Moments are not subtracted: their
        errors would be as large as before, and what they are errors of smaller, at each update
        anew. So after any number of updates they are the moments, but for float64 sums, of frames
        that differ from the stored ones by ``max_error`` at most.
        """
        if self._is_trusted and not self._file.index["length"][self._is_gone].any():
            return self._file.moments
        return self._moments_of(~self._is_gone)

    def iter_chunks(self) -> Iterator[tuple[int, bytes | memoryview, int]]:
        """Row each chunk begins at, its bytes and their checksum: as stored, or the rest blanked.

        A chunk without rows that stay is not read. To be called after `kept_moments`, which finds
        what is damaged.
        """
        size = self.layout.chunk_frames
        touched, kept = self._spans_by_chunk(self._is_gone), self._spans_by_chunk(~self._is_gone)
        for number in range(len(self._file.crc32)):
            if number in kept and self._stays(number, is_touched=number in touched):
                yield number * size, *self._as_stored(number)
                continue
            rows = self._blank()
            if number in kept:
                with self._advised():
                    found = self._file.chunk_rows(number, checked=self._is_trusted)
                for first, last in kept[number]:
                    rows[first:last] = found[first:last]
            data = self._codec.encode(rows)
            yield number * size, data, checksum(data)

    def _stays(self, number: int, *, is_touched: bool) -> bool:
        """Whether a chunk is left as it is.

        So is a damaged one: written anew, it would get a checksum that fits.
        """
        if self._is_trusted or self._untrusted_chunk(number)[1]:
            return not is_touched
        return number in self._damaged

    def _as_stored(self, number: int) -> tuple[bytes | memoryview, int]:
        """Bytes of a chunk, and the checksum that the store has of them."""
        data: bytes | memoryview
        if self._is_trusted:
            with self._advised():
                data = self._file.chunk(number)
        else:
            data, _ = self._untrusted_chunk(number)
        return data, int(self._file.crc32[number])

    def _untrusted_chunk(self, number: int) -> tuple[bytes | memoryview, bool]:
        """Bytes of a chunk, and whether they are as written; a blank where there are none."""
        rows = self._blank()
        try:
            if not self._is_recoded:
                return self._file.stored_chunk(number)
            rows = self._file.chunk_rows(number, checked=False)
        except StoreError as error:
            if is_from_system(error):
                raise
        return self._codec.encode(rows), False

    def _blank(self) -> np.ndarray:
        shape = (self.layout.chunk_frames, self.layout.width)
        return np.full(shape, FILL_VALUE, dtype=self.layout.stored_dtype)

    def _moments_of(self, chosen: np.ndarray) -> Moments:
        """Moments of some items, from their stored frames; StoreError where those changed.

        Of a store that is not trusted, what has changed is left out.
        """
        total = Moments.empty(self.layout.width)
        items = spans(self._file, np.flatnonzero(chosen))
        for span, found in examine(self._file, items, checked=self._is_trusted):
            if isinstance(found, Moments):
                total.add(found)
            elif not self._is_trusted:
                self._damaged.update(self._numbers(span))
            else:
                with self._advised():
                    if str(self.path) in str(found):
                        raise found
                    where = f"rows {span.start} to {span.stop - 1}"
                    raise StoreError(f"{self.path} is damaged: {where}: {found}")
        return total

    def _check_layout(self) -> None:
        found = self._file.layout
        is_mended = replace(found, compression=self.layout.compression) == self.layout
        if found == self.layout or (is_mended and not self._is_trusted):
            return
        advice = self._advice if is_mended else "convert again with --overwrite"
        difference = found.difference(self.layout)
        raise StoreError(f"{self.path} has another layout: {difference}; {advice}")

    @property
    def _advice(self) -> str:
        return f"{shell_command('verify --repair', self.path)} SOURCE... makes it good"

    @contextmanager
    def _advised(self) -> Iterator[None]:
        """Say of damage what mends it."""
        try:
            yield
        except StoreError as error:
            if not self._is_trusted or is_from_system(error):
                raise
            raise StoreError(f"{error}; {self._advice}") from error

    def _spans_by_chunk(self, chosen: np.ndarray) -> dict[int, list[tuple[int, int]]]:
        """Rows of some items, by chunk and counted from its first row."""
        by_chunk: dict[int, list[tuple[int, int]]] = {}
        with_rows = np.flatnonzero(chosen & (self._file.index["length"] > 0))
        for span in spans(self._file, with_rows):
            for number in self._numbers(span):
                first = number * self.layout.chunk_frames
                last = first + self.layout.chunk_frames
                own = max(span.start, first) - first, min(span.stop, last) - first
                by_chunk.setdefault(number, []).append(own)
        return by_chunk

    def _numbers(self, span: Span) -> range:
        """The chunks that an item has rows in."""
        size = self.layout.chunk_frames
        return range(span.start // size, -(-span.stop // size))
