"""Reading a store from Python: a mapping from keys to spectrograms."""

import difflib
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from specctl.basis.record import Basis
from specctl.errors import StoreError
from specctl.store.basis_table import stored_basis
from specctl.store.layout import FailureRecord, ItemRecord, Layout
from specctl.store.store_file import StoreFile
from specctl.store.tables import (
    Table,
    decode_text,
    failure_record,
    item_record,
    tables_digest,
)
from specctl.store.values import ValueDecoder
from specctl.words import counted

if TYPE_CHECKING:
    from specctl.store.dataset import SpectrogramDataset

_MAX_COMPARED_KEYS = 10_000


def open_store(path: str | Path, *, decode: bool = True) -> "Store":
    """Open a store for reading.

    Parameters
    ----------
    decode : bool
        False gives values as they are stored: codes of integer types, float16, and complex ones
        with a trailing axis of 2 (re, im).

    Raises
    ------
    StoreError
        The file is no store, is damaged, or has a format this specctl does not know.
    """
    return Store(Path(path), decode=decode)


class Store(Mapping[str, np.ndarray]):
    """A store open for reading: ``store[key]`` is a spectrogram, shape (freq, time).

    Besides, `read` gives some frames of an item, `dataset` a torch dataset, `labels` and `classes`
    what items are, `mean` and `std` the statistics of each bin, and `config` the settings.

    Nothing but the index is kept in memory. A store can be pickled and used after a fork: each
    process opens the file for itself, which must be the same still. Closing is optional, as a
    context manager or by `close`.
    """

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def __init__(self, path: Path, *, decode: bool = True) -> None:
        self.path = path
        self.decode = decode
        self._opened: StoreFile | None = StoreFile(path)
        try:
            self._opened.check_tables()
        except StoreError:
            self._opened.close()
            raise
        # other processes find it from other folders
        self._place = path.absolute()
        self._tables_digest = self._opened.tables_digest
        self._pid = os.getpid()
        self._is_closed = False

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._place, "decode": self.decode, "tables": self._tables_digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = self._place = state["path"]
        self.decode, self._tables_digest = state["decode"], state["tables"]
        self._opened, self._pid, self._is_closed = None, os.getpid(), False

    def __repr__(self) -> str:
        size = "closed" if self._is_closed else counted(len(self), "item")
        return f"Store({str(self.path)!r}, {size})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what needs it from now on raises StoreError."""
        if self._opened is not None and self._pid == os.getpid():
            self._opened.close()
        self._opened, self._is_closed = None, True

    def __getitem__(self, key: str) -> np.ndarray:
        return self.read(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._file.index["key"])

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._rows

    def get(self, key: object, default: Any = None) -> Any:
        """An item, or ``default`` where there is none."""
        # not by the KeyError, whose message takes long
        return self[key] if isinstance(key, str) and key in self._rows else default

    def read(self, key: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames ``start`` to ``stop`` of an item, counted as in a slice.

        Returns
        -------
        ndarray, shape (freq, time), float32 or complex64
            Memory of its own; of other shape and type where the store was opened undecoded.

        Raises
        ------
        KeyError
            No item has this key; the message has the nearest one.
        """
        row = self.row(key)
        frames = range(int(self._file.index["length"][row]))[start:stop]
        stored = self._file.item_rows(row, frames.start, max(frames.start, frames.stop))
        if not self.decode:
            stored = stored.reshape(-1, *self.layout.frame_shape)
            return np.ascontiguousarray(np.swapaxes(stored, 0, 1))
        values: np.ndarray = self._decoder(stored)
        if self.layout.is_complex:
            values = values.view(np.complex64)
        return np.ascontiguousarray(values.T)

    def row(self, key: str) -> int:
        """Row of an item in the index; KeyError with the nearest key where there is none."""
        try:
            return self._rows[key]
        except (KeyError, TypeError):
            # a list cannot even be looked for
            raise KeyError(self._unknown_key(key)) from None

    def matches_digest(self, key: str) -> bool:
        """Whether an item has the frames that it had, whatever bytes they are stored as."""
        return self._file.matches_digest(self.row(key))

    def record(self, key: str) -> ItemRecord:
        """What the index has about an item."""
        return item_record(self._file.index, self.row(key))

    @property
    def records(self) -> list[ItemRecord]:
        """What the index has about every item, in the order of the store."""
        return [item_record(self._file.index, row) for row in range(len(self))]

    @cached_property
    def index(self) -> Table:
        """Columns of ``/index``: int64, bool, and ``str`` objects for text."""
        return {name: self.column(name) for name in self._file.index}

    def column(self, name: str) -> np.ndarray:
        """One of the columns of `index`; of millions of items, all of them take a gigabyte."""
        return _plain_column(self._file.index[name])

    @cached_property
    def labels(self) -> np.ndarray:
        """Label of each item, shape (n_items,), ``str`` objects; empty: none."""
        return self.column("label")

    @cached_property
    def classes(self) -> list[str]:
        """Labels in use, sorted."""
        return sorted(
            decode_text(label) for label in set(self._file.index["label"].tolist()) - {b""}
        )

    @property
    def failures(self) -> list[FailureRecord]:
        """Sources that could not be converted."""
        table = self._file.errors
        return [failure_record(table, row) for row in range(len(table["key"]))]

    @property
    def errors(self) -> list[tuple[str, str]]:
        """Key and reason of each source that could not be converted."""
        return [(failure.key, failure.reason) for failure in self.failures]

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the file, and ``units`` and ``long_name`` of the values."""
        return {**self._file.attributes, **self._file.spectrogram_attributes}

    @cached_property
    def config(self) -> dict[str, Any]:
        """Settings the store was made with; StoreError where they have changed."""
        self._file.check_settings()
        try:
            config = json.loads(self.attributes.get("config", ""))
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreError(f"{self.path} is damaged: its config is not JSON: {error}") from error
        if not isinstance(config, dict):
            raise StoreError(f"{self.path} is damaged: its config is not a JSON object")
        return config

    @cached_property
    def basis(self) -> Basis | None:
        """The trained basis the store was made with, for ``MelSpectrogram.from_basis``."""
        table = self._file.basis
        return None if table is None else stored_basis(self.path, table, self.config)

    @property
    def layout(self) -> Layout:
        """How the values are stored."""
        return self._file.layout

    @property
    def frequency(self) -> np.ndarray:
        """Centre of each bin, shape (n_bins,), Hz; of cepstral coefficients their numbers."""
        return self._file.frequency.copy()

    @property
    def mean(self) -> np.ndarray:
        """Mean of each bin over all frames, shape (n_bins,), complex stores (n_bins, 2)."""
        return self._file.mean.copy()

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of each bin over all frames, as `mean`."""
        return self._file.std.copy()

    @property
    def n_bytes(self) -> int:
        """Bytes of the file."""
        return self._file.n_bytes

    @property
    def n_frames(self) -> int:
        """Frames of all items."""
        return int(self._file.index["length"].sum())

    def dataset(self, **options: Any) -> "SpectrogramDataset":
        """Torch dataset of this store; options as `specctl.store.dataset.SpectrogramDataset`."""
        from specctl.store.dataset import SpectrogramDataset

        return SpectrogramDataset(self, **options)

    @property
    def _file(self) -> StoreFile:
        """The store opened in this process."""
        if self._is_closed:
            raise StoreError(f"{self.path} is closed")
        if self._opened is None:
            self._opened, self._pid = self._unpickled(), os.getpid()
        elif self._pid != os.getpid():
            self._opened, self._pid = self._opened.reopened(), os.getpid()
        return self._opened

    def _unpickled(self) -> StoreFile:
        """The store that was pickled, and no other that has its name by now."""
        file = StoreFile(self._place)
        if tables_digest(file.tables) != self._tables_digest:
            file.close()
            raise StoreError(f"{self.path} has changed since it was opened")
        return file

    @cached_property
    def _rows(self) -> dict[str, int]:
        keys = self._file.index["key"].tolist()
        return {decode_text(key): row for row, key in enumerate(keys)}

    @cached_property
    def _decoder(self) -> ValueDecoder:
        return ValueDecoder(self.layout)

    def _unknown_key(self, key: object) -> str:
        if not isinstance(key, str):
            return f"{self.path} has no item {key!r}; its keys are strings"
        reason = dict(self.errors).get(key)
        if reason is not None:
            return f"{self.path} has no item {key!r}, it could not be converted: {reason}"
        # names of folders are what people leave out; spelling is compared for some keys only,
        # which takes long
        ending = (other for other in self._rows if key and other.endswith(key))
        near = list(islice(ending, 1)) or difflib.get_close_matches(
            key, list(islice(self._rows, _MAX_COMPARED_KEYS)), n=1
        )
        if not near:
            return f"{self.path} has no item {key!r}"
        # the accents of names from a Mac are characters of their own, and look the same
        looks_alike = unicodedata.normalize("NFC", near[0]) == unicodedata.normalize("NFC", key)
        meant = f"{near[0]!a}, of other characters" if looks_alike else repr(near[0])
        return f"{self.path} has no item {key!r}; did you mean {meant}?"


def _plain_column(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "u":
        return column > 0
    if column.dtype.kind != "S":
        # whoever changes it must not change what is read
        return column.copy()
    texts = np.empty(len(column), dtype=object)
    texts[:] = [decode_text(text) for text in column.tolist()]
    return texts
