"""Joining parts to one HDF5 store, and to an existing store for an update.

Compressed chunks are copied as they are. HDF5 writes once to a file nobody else has seen, through
a sink that makes a full disk an error and not a crash.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from specctl.basis.record import Basis
from specctl.errors import ParameterError, StoreError
from specctl.store.base import Base
from specctl.store.basis_table import basis_table
from specctl.store.chunks import checksum
from specctl.store.contents import stats_table, write_root_attributes, write_tables
from specctl.store.hdf5 import create_spectrogram, created_file, write_chunk
from specctl.store.layout import Layout
from specctl.store.part_reader import read_part
from specctl.store.sink import FileSink
from specctl.store.stats import Moments
from specctl.store.tables import (
    ERROR_TYPES,
    INDEX_TYPES,
    Table,
    decode_text,
    failure_table,
    item_table,
    join_tables,
    select_rows,
    without_empty,
)


@dataclass(frozen=True)
class MergeSummary:
    """What a merged store holds."""

    n_items: int
    n_frames: int
    n_bytes: int


class Merger:
    """A store in the making, to which finished parts are added in their order.

    `merging` makes one.
    """

    def __init__(
        self, file: h5py.File, sink: FileSink, layout: Layout, texts: Mapping[str, str]
    ) -> None:
        self.is_finished = False
        self._file, self._sink, self._layout = file, sink, layout
        self._dataset = create_spectrogram(file, layout, texts)
        self._moments = Moments.empty(layout.width)
        self._n_rows = 0
        self._old: Base | None = None
        self._items: list[Table] = []
        self._failures: list[Table] = []
        self._checksums: list[int] = []
        self._tables: dict[str, Table] = {}

    def add_base(self, base: Base) -> None:
        """Begin with the items of another store that stay."""
        self._old = base
        self._items.append(base.kept_items())
        self._moments = base.kept_moments()
        self._write_chunks(base.n_rows, base.iter_chunks())

    def add(self, path: Path, job: str | None = None) -> None:
        """Copy the chunks of the next part, each checked, and take note of its items.

        Parameters
        ----------
        job : str, optional
            Id of the conversion that it must be of.

        Raises
        ------
        StoreError
            The part is damaged, has another layout or is of another conversion, or the disk
            cannot take it.
        """
        part = read_part(path)
        if job is not None and not part.is_of(job):
            raise StoreError(f"{path} is of another conversion; the same command makes it again")
        if difference := part.layout.difference(self._layout):
            raise StoreError(
                f"{path} has another layout: {difference}; convert again with --overwrite"
            )
        self._items.append(item_table(part.items, self._n_rows))
        self._failures.append(failure_table(part.failures))
        for moments in part.iter_moments():
            self._moments.add(moments)
        chunks = ((row, data, checksum(data)) for row, data in part.iter_chunks())
        self._write_chunks(part.n_rows, chunks)
        self._sink.begin_writing()

    def finish(
        self,
        *,
        frequencies: np.ndarray,
        attributes: Mapping[str, str | int | float],
        basis: Basis | None = None,
    ) -> None:
        """Write all but the chunks; the store is complete when `merging` ends.

        Parameters
        ----------
        frequencies : ndarray, shape (n_bins,), Hz
        attributes : mapping
            Of the root; ``config`` (JSON) and ``fingerprint`` among them.
        basis : specctl.basis.Basis, optional
            The trained one that the rows were computed with.

        Raises
        ------
        StoreError
            A key comes twice, or the disk cannot take the store.
        """
        _check_arguments(self._layout, frequencies, attributes)
        items = join_tables(self._items, INDEX_TYPES)
        _check_unique(items["key"])
        if self._old is not None:
            self._failures.insert(0, self._old.kept_failures(self._items[1:]))
        self._tables = {
            "": {"frequency": np.asarray(frequencies, dtype="<f8")},
            "errors": _last_of_each(join_tables(self._failures, ERROR_TYPES)),
            "index": without_empty(items),
            "stats": stats_table(self._moments, len(frequencies)),
            "chunks": {"crc32": np.array(self._checksums, dtype="<u4")},
        }
        if basis is not None:
            self._tables["basis"] = basis_table(basis)
        write_tables(self._file, self._tables)
        write_root_attributes(self._file, attributes, self._tables)
        self.is_finished = True

    def summary(self, n_bytes: int) -> MergeSummary:
        """What a finished store of ``n_bytes`` holds."""
        items = self._tables["index"]
        return MergeSummary(
            n_items=len(items["key"]),
            n_frames=int(items["length"].sum()),
            n_bytes=n_bytes,
        )

    def _write_chunks(
        self, n_rows: int, chunks: Iterable[tuple[int, bytes | memoryview, int]]
    ) -> None:
        """Write chunks as they are, and their checksums, after those that are there."""
        first_row, self._n_rows = self._n_rows, self._n_rows + n_rows
        self._dataset.resize(self._n_rows, axis=0)
        for row, data, crc32 in chunks:
            write_chunk(self._dataset, first_row + row, data)
            self._sink.check()
            self._checksums.append(crc32)


@contextlib.contextmanager
def merging(
    temporary: Path,
    *,
    layout: Layout,
    units: str,
    long_name: str,
    base: Path | None = None,
    replaced: Collection[str] = (),
    relabelled: Mapping[str, str] | None = None,
    forgotten: Collection[str] = (),
    is_trusted: bool = True,
) -> Iterator[Merger]:
    """Write a store to ``temporary``; `specctl.durable.publish` then gives it its name.

    Nothing is left there unless `Merger.finish` was called and nothing failed.

    Parameters
    ----------
    temporary : Path
    layout : Layout
    units, long_name : str
        Of the values.
    base : Path, optional
        A finished store of the same layout whose items come first.
    replaced : collection of str
        Sources of ``base`` whose items leave; their rows become padding.
    relabelled : dict, optional
        Sources of ``base`` to the label that their items get.
    forgotten : collection of str
        Keys of items of ``base`` that leave as well, each a failure of its source from now on.
    is_trusted : bool
        Whether ``base`` is taken to be good; otherwise its statistics are made anew, and what is
        damaged of it stays and stays known as such.

    Raises
    ------
    StoreError
        The base is damaged or has another layout, or the disk cannot take the store.
    """
    with contextlib.ExitStack() as stack:
        old = None
        if base is not None:
            old = stack.enter_context(
                Base(
                    base, layout, replaced, relabelled, forgotten=forgotten, is_trusted=is_trusted
                )
            )
        stack.enter_context(_removed_on_failure(temporary))
        with created_file(temporary) as (file, sink):
            merger = Merger(file, sink, layout, {"units": units, "long_name": long_name})
            if old is not None:
                merger.add_base(old)
            yield merger
        if not merger.is_finished:
            temporary.unlink(missing_ok=True)


def _last_of_each(failures: Table) -> Table:
    """Of several failures of one key the last, in the order they came."""
    last = {key: row for row, key in enumerate(failures["key"].tolist())}
    return select_rows(failures, np.array(sorted(last.values()), dtype=np.int64))


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _check_arguments(
    layout: Layout, frequencies: np.ndarray, attributes: Mapping[str, str | int | float]
) -> None:
    if np.shape(frequencies) != (layout.n_bins,):
        raise ParameterError(
            f"frequencies must have shape ({layout.n_bins},), got {np.shape(frequencies)}"
        )
    missing = {"config", "fingerprint"} - set(attributes)
    if missing:
        raise ParameterError(f"attributes must have {' and '.join(sorted(missing))}")


def _check_unique(keys: np.ndarray) -> None:
    unique, counts = np.unique(keys, return_counts=True)
    if len(unique) < len(keys):
        twice = decode_text(bytes(unique[counts > 1][0]))
        raise StoreError(f"key {twice!r} comes more than once")
