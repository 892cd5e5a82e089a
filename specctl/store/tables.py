"""Records as columns: what ``/index`` and ``/errors`` hold."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from specctl.errors import StoreError
from specctl.store.layout import FailureRecord, ItemRecord

# column -> int64 numbers, uint8 for yes and no, or "S" strings of any length
Table = dict[str, np.ndarray]

INDEX_TYPES: dict[str, type] = {
    "key": str,
    "source": str,
    "start": int,
    "length": int,
    "sample_rate": int,
    "n_samples": int,
    "channel": int,
    "offset": int,
    "label": str,
    "size": int,
    "mtime_ns": int,
    "sha256": str,
    "digest": str,
    "truncated": bool,
}
OPTIONAL = "truncated"
"""Column of ``/index`` that only those stores have in which it says something."""

COLUMN_TYPES: dict[type, str] = {int: "i8", bool: "u1", str: "S"}
ERROR_TYPES: dict[str, type] = {"key": str, "reason": str, "size": int, "mtime_ns": int}


def item_table(items: Sequence[ItemRecord], first_row: int) -> Table:
    """Rows of ``/index`` for items that follow each other from ``first_row`` on."""
    table = {
        name: _column(name, (getattr(item, name) for item in items), kind)
        for name, kind in INDEX_TYPES.items()
        if name not in ("start", "length")
    }
    table["length"] = _column("length", (item.n_frames for item in items), int)
    table["start"] = first_row + np.cumsum(table["length"]) - table["length"]
    return {name: table[name] for name in INDEX_TYPES}


def failure_table(failures: Sequence[FailureRecord]) -> Table:
    """Rows of ``/errors``."""
    return {
        name: _column(name, (getattr(failure, name) for failure in failures), kind)
        for name, kind in ERROR_TYPES.items()
    }


def item_record(table: Table, row: int) -> ItemRecord:
    """One row of ``/index``."""
    values = _plain_row(table, row)
    del values["start"]
    truncated = bool(values.pop("truncated"))
    return ItemRecord(n_frames=values.pop("length"), truncated=truncated, **values)


def failure_record(table: Table, row: int) -> FailureRecord:
    """One row of ``/errors``."""
    return FailureRecord(**_plain_row(table, row))


def join_tables(tables: Sequence[Table], types: dict[str, type]) -> Table:
    """Rows of all tables, one after another; strings as long as the longest."""
    empty = {name: _column(name, (), kind) for name, kind in types.items()}
    return {name: np.concatenate([table[name] for table in [empty, *tables]]) for name in types}


def without_empty(index: Table) -> Table:
    """An index as it is stored: without the column that says nothing."""
    return {name: column for name, column in index.items() if name != OPTIONAL or column.any()}


def select_rows(table: Table, rows: np.ndarray) -> Table:
    """Some rows of a table."""
    return {name: column[rows] for name, column in table.items()}


def relabelled(index: Table, labels: Mapping[bytes, str]) -> Table:
    """The same items, those of some sources with another label."""
    rows = zip(index["source"].tolist(), index["label"].tolist(), strict=True)
    texts = (labels.get(source, decode_text(label)) for source, label in rows)
    return {**index, "label": _column("label", texts, str)}


def is_among(column: np.ndarray, texts: Iterable[bytes]) -> np.ndarray:
    """Which strings of a column are among ``texts``, shape (n,), bool."""
    wanted = set(texts)
    return np.fromiter((text in wanted for text in column.tolist()), dtype=bool, count=len(column))


def tables_digest(tables: Mapping[str, Table]) -> str:
    """SHA-256 (hex) of the bytes of every table, in the order of their paths."""
    columns = {
        f"{group}/{name}".lstrip("/"): column
        for group, table in tables.items()
        for name, column in table.items()
    }
    digest = hashlib.sha256()
    for path in sorted(columns):
        digest.update(np.ascontiguousarray(columns[path]).data)
    return digest.hexdigest()


def encode_text(value: str, name: str) -> bytes:
    """UTF-8 of a text, undecodable bytes of file names as they were; no NUL, it would end it."""
    if "\0" in value:
        raise StoreError(f"{name} must not contain NUL, got {value!r}")
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise StoreError(f"{name} must be text that UTF-8 can hold, got {value!r}") from error


def decode_text(data: bytes) -> str:
    """Inverse of `encode_text`."""
    return data.decode("utf-8", "surrogateescape")


def _column(name: str, values: Iterable[Any], kind: type) -> np.ndarray:
    if kind is not str:
        return np.array(list(values), dtype=COLUMN_TYPES[kind])
    encoded = [encode_text(value, name) for value in values]
    # HDF5 has no strings of length 0
    return np.array(encoded, dtype=f"S{max(map(len, encoded), default=0) or 1}")


def _plain_row(table: Table, row: int) -> dict[str, Any]:
    values = {name: column[row].item() for name, column in table.items()}
    return {
        name: decode_text(value) if isinstance(value, bytes) else value
        for name, value in values.items()
    }
