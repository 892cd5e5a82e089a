"""Joining parts to one HDF5 store, and to an existing store for an update.

Compressed chunks are copied as they are. HDF5 writes once to a file nobody else has seen, through
a sink that makes a full disk an error and not a crash.
"""

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

from specctl.errors import ParameterError, StoreError
from specctl.store.base import Base
from specctl.store.chunks import checksum
from specctl.store.durable import fsync_file
from specctl.store.hdf5 import create_spectrogram, created_file, write_attribute, write_table
from specctl.store.layout import FORMAT, FORMAT_VERSION, FailureRecord, Layout
from specctl.store.part_reader import Part, read_part
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
    tables_digest,
)
from specctl.version import __version__


@dataclass(frozen=True)
class MergeSummary:
    """What a merged store holds."""

    n_items: int
    n_frames: int
    n_rows: int
    n_failures: int
    n_replaced: int
    n_bytes: int


@dataclass
class _Gathered:
    """All but the chunks, in the order of the rows."""

    moments: Moments
    n_rows: int = 0
    n_replaced: int = 0
    parts: list[Part] = field(default_factory=list)
    items: list[Table] = field(default_factory=list)
    failures: list[Table] = field(default_factory=list)


def merge_parts(
    parts: Sequence[Path],
    temporary: Path,
    *,
    layout: Layout,
    frequencies: np.ndarray,
    attributes: Mapping[str, str | int | float],
    units: str,
    long_name: str,
    extra_failures: Sequence[FailureRecord] = (),
    base: Path | None = None,
    replaced: Collection[str] = (),
) -> MergeSummary:
    """Write the store; `specctl.store.durable.publish` then gives it its name.

    Parameters
    ----------
    parts : sequence of Path
        Finished parts; their order is the order of the items.
    temporary : Path
        Where to write; on failure nothing is left there.
    frequencies : ndarray, shape (n_bins,), Hz
    attributes : mapping
        Of the root; ``config`` (JSON) and ``fingerprint`` among them.
    extra_failures : sequence of FailureRecord
        Besides those of the parts; of several for one key the last counts.
    base : Path, optional
        A finished store of the same layout whose items come first.
    replaced : collection of str
        Sources of ``base`` whose items leave; their rows become padding.

    Raises
    ------
    StoreError
        A part or the base is damaged or has another layout, a key comes twice, or the disk
        cannot take the store.
    """
    _check_arguments(layout, frequencies, attributes)
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(Base(base, replaced)) if base is not None else None
        gathered = _gather(parts, layout, old)
        items = join_tables(gathered.items, INDEX_TYPES)
        _check_unique(items["key"])
        gathered.failures.append(failure_table(extra_failures))
        tables = _tables(gathered, items, np.asarray(frequencies, dtype="<f8"))
        stack.enter_context(_removed_on_failure(temporary))
        with created_file(temporary) as (file, sink):
            texts = {"units": units, "long_name": long_name}
            dataset = create_spectrogram(file, layout, gathered.n_rows, texts)
            checksums = _write_chunks(dataset, sink, _iter_chunks(gathered.parts, old))
            tables["chunks"] = {"crc32": checksums}
            _write_tables(file, tables)
            _write_root_attributes(file, attributes, tables)
        fsync_file(temporary)
    return MergeSummary(
        n_items=len(items["key"]),
        n_frames=int(items["length"].sum()),
        n_rows=gathered.n_rows,
        n_failures=len(tables["errors"]["key"]),
        n_replaced=gathered.n_replaced,
        n_bytes=temporary.stat().st_size,
    )


def _gather(parts: Sequence[Path], layout: Layout, old: Base | None) -> _Gathered:
    gathered = _Gathered(Moments.empty(layout.width))
    if old is not None:
        _check_layout(old.path, old.layout, layout)
        gathered.items.append(old.kept_items())
        gathered.moments, gathered.n_replaced = old.kept_moments()
        gathered.n_rows = old.n_rows
    for path in parts:
        part = read_part(path)
        _check_layout(path, part.layout, layout)
        gathered.items.append(item_table(part.items, gathered.n_rows))
        gathered.failures.append(failure_table(part.failures))
        gathered.n_rows += part.n_rows
        for moments in part.iter_moments():
            gathered.moments.add(moments)
        gathered.parts.append(dataclasses.replace(part, items=[], moments=part.moments[:0]))
    if old is not None:
        gathered.failures.insert(0, old.kept_failures(gathered.items[1:]))
    return gathered


def _tables(gathered: _Gathered, items: Table, frequencies: np.ndarray) -> dict[str, Table]:
    """Every dataset but ``/spectrogram`` and the checksums of its chunks, by group."""
    failures = join_tables(gathered.failures, ERROR_TYPES)
    last = {key: row for row, key in enumerate(failures["key"].tolist())}
    moments = gathered.moments
    shape = (len(frequencies), -1) if len(moments.mean) > len(frequencies) else (-1,)
    return {
        "": {"frequency": frequencies},
        "errors": select_rows(failures, np.array(sorted(last.values()), dtype=np.int64)),
        "index": items,
        "stats": {
            "count": np.array(moments.count, dtype="<i8"),
            "mean": moments.mean.reshape(shape),
            "std": moments.std.reshape(shape),
        },
    }


def _write_chunks(
    dataset: h5py.Dataset, sink: FileSink, chunks: Iterator[tuple[int, bytes | memoryview]]
) -> np.ndarray:
    """Write chunks as they are, and return their checksums."""
    rest = (0,) * (dataset.ndim - 1)
    checksums = []
    for row, data in chunks:
        dataset.id.write_direct_chunk((row, *rest), data)
        sink.check()
        checksums.append(checksum(data))
    return np.array(checksums, dtype="<u4")


def _iter_chunks(
    parts: Sequence[Part], old: Base | None
) -> Iterator[tuple[int, bytes | memoryview]]:
    first_row = 0
    if old is not None:
        yield from old.iter_chunks()
        first_row = old.n_rows
    for part in parts:
        for row, data in part.iter_chunks():
            yield first_row + row, data
        first_row += part.n_rows


def _write_tables(file: h5py.File, tables: dict[str, Table]) -> None:
    for name, table in tables.items():
        write_table(file.create_group(name) if name else file, table)
    write_attribute(file["frequency"], "units", "Hz")
    file["frequency"].make_scale("frequency")
    file["spectrogram"].dims[1].attach_scale(file["frequency"])


def _write_root_attributes(
    file: h5py.File, attributes: Mapping[str, str | int | float], tables: dict[str, Table]
) -> None:
    values: dict[str, str | int | float] = {
        "specctl_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **attributes,
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "tables_sha256": tables_digest(tables),
    }
    for name, value in values.items():
        write_attribute(file, name, value)


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


def _check_layout(path: Path, found: Layout, wanted: Layout) -> None:
    if found == wanted:
        return
    differing = [
        f"{name} {value} instead of {wanted.to_dict()[name]}"
        for name, value in found.to_dict().items()
        if value != wanted.to_dict()[name]
    ]
    raise StoreError(f"{path} has another layout: {', '.join(differing)}")


def _check_unique(keys: np.ndarray) -> None:
    unique, counts = np.unique(keys, return_counts=True)
    if len(unique) < len(keys):
        twice = decode_text(bytes(unique[counts > 1][0]))
        raise StoreError(f"key {twice!r} comes more than once")
