"""Proving that a store holds what was written to it: every byte of every item is read once."""

import contextlib
import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from specctl.cores import usable_cores
from specctl.errors import StoreError
from specctl.store.basis_table import stored_basis
from specctl.store.layout import FILL_VALUE
from specctl.store.stats import Moments, MomentsGatherer
from specctl.store.store_file import StoreFile
from specctl.store.tables import decode_text, tables_digest
from specctl.store.values import ValueDecoder

# float64 sums of a long store, in another order than they were made in
_STATS_TOLERANCE = 1e-8

_MOST_THREADS = 8
"""Of one store; what they all wait for, HDF5 among it, leaves more of them idle."""

_BATCH_BYTES = 4 << 20
"""Items that a thread checks in one go; of small ones there may be millions."""


class Problem(NamedTuple):
    """Something wrong with the item ``key``, or with the store where ``key`` is empty."""

    key: str
    message: str


def verify_store(
    path: str | Path, progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Check a store from end to end.

    The index against its checksum, every chunk against its checksum, every item against its
    digest, and every other byte of the file against the seal; that items lie inside the array
    and do not overlap, that padding holds the fill value, that values are finite, and that the
    statistics are those of the frames.

    Parameters
    ----------
    progress : callable, optional
        Called with the rows done and the rows there are.

    Returns
    -------
    list of Problem
        Empty where all is good. A file that cannot be opened as a store is one problem.
    """
    try:
        return find_problems(path, progress)
    except StoreError as error:
        return [Problem("", str(error))]


def find_problems(
    path: str | Path, progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Check a store as `verify_store` does; nothing is known of one that cannot be opened.

    Raises
    ------
    StoreError
        The file cannot be opened as a store.
    """
    with StoreFile(Path(path)) as file:
        return _Check(file, progress).run()


class _Span(NamedTuple):
    """An item: its row in the index, its first row in the array, and the one after its last."""

    row: int
    start: int
    stop: int


class _Check:
    """One pass over a store; items are read by several threads, and told in their order."""

    def __init__(self, file: StoreFile, progress: Callable[[int, int], None] | None) -> None:
        self._file = file
        self._progress = progress
        self._problems: list[Problem] = []
        self._decode = ValueDecoder(file.layout)
        self._own = threading.local()
        # compiled once, by this thread
        self._gatherer()
        self._is_over = False
        self._moments = Moments.empty(file.layout.width)

    def run(self) -> list[Problem]:
        if self._check_tables():
            with self._reported(b""):
                self._file.check_seal()
        self._check_names()
        self._check_basis()
        if not self._check_overlap():
            self._check_rows()
            if not self._problems:
                # damaged numbers may be anything
                with np.errstate(all="ignore"):
                    self._check_stats()
        return self._problems

    def _report(self, message: str, key: bytes = b"") -> None:
        self._problems.append(Problem(decode_text(key), message))

    def _check_tables(self) -> bool:
        """Whether the tables are good; where they are not, the seal has nothing to add."""
        is_good = self._file.attributes.get("tables_sha256") == tables_digest(self._file.tables)
        if not is_good:
            self._report("index, statistics or errors do not match their checksum")
        return is_good

    def _check_names(self) -> None:
        if b"" in self._file.index["key"].tolist():
            self._report("an item has an empty key")
        failed = self._file.errors["key"].tolist()
        if b"" in failed or len(set(failed)) < len(failed):
            self._report("/errors has an empty key, or one that comes twice")

    def _check_basis(self) -> None:
        with self._reported(b""):
            try:
                config = json.loads(self._file.attributes.get("config", ""))
            except (TypeError, ValueError, RecursionError):
                config = None
            named = config.get("basis") if isinstance(config, dict) else None
            if self._file.basis is not None and isinstance(config, dict):
                stored_basis(self._file.path, self._file.basis, config)
            elif named is not None:
                raise StoreError("its settings name a basis, /basis is missing")

    def _check_overlap(self) -> bool:
        """Whether rows belong to two items; such stores could make reading take for ever."""
        order, start, stop = self._spans()
        # an item without frames has no rows to share
        order, start, stop = (column[stop > start] for column in (order, start, stop))
        overlapping = order[1:][start[1:] < np.maximum.accumulate(stop)[:-1]]
        for row in overlapping:
            self._report("shares frames with another item", self._file.index["key"][row])
        return len(overlapping) > 0

    def _spans(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Items in the order of their rows: row in the index, first row, row after the last."""
        start, length = self._file.index["start"], self._file.index["length"]
        order = np.lexsort((length, start))
        return order, start[order], (start + length)[order]

    def _check_rows(self) -> None:
        done = 0
        for span, found in self._examined():
            self._check_padding(done, span.start)
            if isinstance(found, Moments):
                self._moments.add(found)
            else:
                self._report(str(found), bytes(self._file.index["key"][span.row]))
            done = span.stop
            if self._progress is not None:
                self._progress(done, self._file.n_rows)
        self._check_padding(done, self._file.n_rows)

    def _examined(self) -> Iterator[tuple[_Span, Moments | StoreError]]:
        """Each item, and what it holds or what is wrong with it."""
        n_threads = min(usable_cores(), _MOST_THREADS)
        waiting: deque[Any] = deque()
        with ThreadPoolExecutor(n_threads) as pool:
            try:
                for batch in self._batches():
                    waiting.append(pool.submit(self._examine, batch))
                    if len(waiting) > 2 * n_threads:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                self._is_over = True
                pool.shutdown(cancel_futures=True)

    def _batches(self) -> Iterator[list[_Span]]:
        columns = (column.tolist() for column in self._spans())
        size = max(_BATCH_BYTES // self._file.layout.row_bytes, 1)
        batch: list[_Span] = []
        n_rows = 0
        for span in map(_Span, *columns):
            batch.append(span)
            n_rows += span.stop - span.start
            if n_rows >= size:
                yield batch
                batch, n_rows = [], 0
        yield batch

    def _examine(self, batch: list[_Span]) -> list[tuple[_Span, Moments | StoreError]]:
        found: list[tuple[_Span, Moments | StoreError]] = []
        for span in batch:
            try:
                found.append((span, self._moments_of(span)))
            except StoreError as error:
                found.append((span, error))
        return found

    def _moments_of(self, span: _Span) -> Moments:
        digest = hashlib.sha256()
        gatherer = self._gatherer()
        not_finite = None
        for rows in self._slabs(span.start, span.stop):
            if self._is_over:
                raise StoreError("not read to its end")
            digest.update(rows.data)
            if not_finite is None:
                try:
                    gatherer.add(self._decode(rows))
                except StoreError as error:
                    not_finite = error
        if digest.hexdigest().encode() != self._file.index["digest"][span.row]:
            raise StoreError("frames do not match their digest")
        if not_finite is not None:
            raise not_finite
        return gatherer.finish()

    def _gatherer(self) -> MomentsGatherer:
        """The one of this thread, with nothing in it."""
        if not hasattr(self._own, "gatherer"):
            self._own.gatherer = MomentsGatherer(self._file.layout.width)
        gatherer: MomentsGatherer = self._own.gatherer
        gatherer.reset()
        return gatherer

    def _check_padding(self, start: int, stop: int) -> None:
        with self._reported(b""):
            for rows in self._slabs(start, stop):
                # bytes, so that -0.0 and NaN are not 0 either
                if rows.view(np.uint8).any():
                    raise StoreError(
                        f"rows {start} to {stop - 1} belong to no item "
                        f"and do not hold the fill value {FILL_VALUE}"
                    )

    def _slabs(self, start: int, stop: int) -> Iterator[np.ndarray]:
        size = self._file.layout.chunk_frames
        while start < stop:
            end = min(start - start % size + size, stop)
            yield self._file.rows(start, end)
            start = end

    def _check_stats(self) -> None:
        found, wanted = self._file.moments, self._moments
        if found.count != wanted.count:
            self._report(f"stats count {found.count} frames, the items have {wanted.count}")
            return
        # rounding moves a mean or a standard deviation at most by its own worst error
        slack = _STATS_TOLERANCE * (abs(wanted.mean) + wanted.std)
        slack = slack + self._file.layout.max_error * (1 + _STATS_TOLERANCE)
        for name, off in {
            "mean": abs(found.mean - wanted.mean),
            "std": abs(found.std - wanted.std),
        }.items():
            if not (off <= slack).all():
                self._report(f"stats/{name} is not that of the frames, off by up to {off.max():g}")

    @contextlib.contextmanager
    def _reported(self, key: bytes) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._report(str(error), key)
