"""Reading whole items of a store with several cores: each against its digest, and its moments."""

import hashlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from specctl.cores import usable_cores
from specctl.errors import StoreError
from specctl.store.hdf5 import is_from_system
from specctl.store.stats import Moments, MomentsGatherer
from specctl.store.store_file import StoreFile
from specctl.store.values import ValueDecoder

_MOST_THREADS = 8
"""Of one store; what they all wait for, HDF5 among it, leaves more of them idle."""

_BATCH_BYTES = 4 << 20
"""Items that a thread reads in one go; of small ones there may be millions."""


class Span(NamedTuple):
    """An item: its row in the index, its first row in the array, and the one after its last."""

    row: int
    start: int
    stop: int


def spans(file: StoreFile, rows: np.ndarray) -> Iterator[Span]:
    """Items of the index, in the order of ``rows``."""
    start, length = file.index["start"][rows], file.index["length"][rows]
    columns = (column.tolist() for column in (rows, start, start + length))
    return map(Span, *columns)


def examine(
    file: StoreFile, items: Iterable[Span], *, checked: bool = True
) -> Iterator[tuple[Span, Moments | StoreError]]:
    """Each item in its turn, and the moments of its frames or what is wrong with it.

    Several threads read ahead of whoever takes the items.

    Parameters
    ----------
    checked : bool
        Whether chunks must match their checksums, besides items their digests.
    """
    reader = _Reader(file, checked)
    n_threads = min(usable_cores(), _MOST_THREADS)
    waiting: deque[Any] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for batch in _batches(items, max(_BATCH_BYTES // file.layout.row_bytes, 1)):
                waiting.append(pool.submit(reader.read, batch))
                if len(waiting) > 2 * n_threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            reader.is_over = True
            pool.shutdown(cancel_futures=True)


def _batches(items: Iterable[Span], size: int) -> Iterator[list[Span]]:
    batch: list[Span] = []
    n_rows = 0
    for span in items:
        batch.append(span)
        n_rows += span.stop - span.start
        if n_rows >= size:
            yield batch
            batch, n_rows = [], 0
    yield batch


class _Reader:
    """What the threads share; ``is_over`` has them stop soon."""

    def __init__(self, file: StoreFile, checked: bool) -> None:
        self.is_over = False
        self._file, self._checked = file, checked
        self._decode = ValueDecoder(file.layout)
        self._own = threading.local()
        # compiled once, by this thread
        self._gatherer()

    def read(self, batch: list[Span]) -> list[tuple[Span, Moments | StoreError]]:
        found: list[tuple[Span, Moments | StoreError]] = []
        for span in batch:
            try:
                found.append((span, self._moments_of(span)))
            except StoreError as error:
                found.append((span, error))
        return found

    def _moments_of(self, span: Span) -> Moments:
        digest = hashlib.sha256()
        gatherer = self._gatherer()
        not_finite = None
        for rows in self._slabs(span):
            if self.is_over:
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

    def _slabs(self, span: Span) -> Iterator[np.ndarray]:
        """Rows of an item; of a chunk that has changed it is told whether its values have."""
        try:
            yield from self._file.slabs(span.start, span.stop, checked=self._checked)
        except StoreError as error:
            if is_from_system(error) or not self._file.matches_digest(span.row):
                raise
            raise StoreError(f"{error}; the values of the item are what they were") from error

    def _gatherer(self) -> MomentsGatherer:
        """The one of this thread, with nothing in it."""
        if not hasattr(self._own, "gatherer"):
            self._own.gatherer = MomentsGatherer(self._file.layout.width)
        gatherer: MomentsGatherer = self._own.gatherer
        gatherer.reset()
        return gatherer
