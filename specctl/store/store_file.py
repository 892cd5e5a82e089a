"""An open store: its index in memory, its rows on demand.

Rows come through `specctl.store.chunks` and not through HDF5's filters: several times faster,
bounded in memory whatever a chunk claims to hold, and each chunk is checked against its checksum.
"""

import copy
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from specctl.errors import ParameterError, StoreError
from specctl.store.basis_table import read_basis_table
from specctl.store.chunks import ChunkCodec, checksum
from specctl.store.hdf5 import is_from_system, read_chunk
from specctl.store.layout import FORMAT, FORMAT_VERSION, Layout
from specctl.store.safety import CheckedFile, reported_h5_errors
from specctl.store.stats import Moments
from specctl.store.tables import (
    COLUMN_TYPES,
    ERROR_TYPES,
    INDEX_TYPES,
    OPTIONAL,
    Table,
    decode_text,
    encode_text,
    tables_digest,
)

_CACHE_BYTES = 16 << 20


class StoreFile:
    """A store opened for reading in this process.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StoreError
        The file is no store, has a format this specctl does not know, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checked = CheckedFile(path)
        self._place = path.absolute()
        try:
            self._read_contents()
        except BaseException:
            self._checked.close()
            raise
        self._codec = ChunkCodec(self.layout)
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._cache_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._checked.close()

    def reopened(self) -> "StoreFile":
        """The same store opened once more, for another process; the index is shared."""
        twin = copy.copy(self)
        twin._checked = CheckedFile(self._place)
        if twin.tables_digest != self.tables_digest:
            twin.close()
            raise StoreError(f"{self.path} has changed since it was opened")
        twin._spectrogram = twin._checked.spectrogram()
        twin._cache, twin._cache_lock = OrderedDict(), threading.Lock()
        return twin

    @property
    def n_bytes(self) -> int:
        """Bytes of the file."""
        return self._checked.n_bytes

    @property
    def tables(self) -> dict[str, Table]:
        """Every dataset but ``/spectrogram``, by group."""
        trained = {"basis": self.basis} if self.basis is not None else {}
        return {
            **trained,
            "": {"frequency": self.frequency},
            "chunks": {"crc32": self.crc32},
            "errors": self.errors,
            "index": {name: self.index[name] for name in self._index_names},
            "stats": {
                "count": np.array(self.moments.count, dtype="<i8"),
                "mean": self.mean,
                "std": self.std,
            },
        }

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the root, those that hold one plain value."""
        return self._checked.attributes()

    @property
    def tables_digest(self) -> Any:
        """What the file says its tables are: another in every store that has other items."""
        return self._checked.attribute("tables_sha256")

    def check_tables(self) -> None:
        """Raise StoreError where tables or scale are not what the file says they are."""
        scale = self._checked.attribute("scale_sha256", "spectrogram")
        if self.layout.is_integer and scale not in (None, self.layout.scale_digest()):
            raise StoreError(
                f"{self.path} is damaged: its scale_factor, add_offset or max_error does not "
                "match their checksum; convert again with --overwrite"
            )
        if self.tables_digest != tables_digest(self.tables):
            raise StoreError(
                f"{self.path} is damaged: its index, statistics or errors do not match their "
                "checksum; convert again with --overwrite"
            )

    def check_settings(self) -> None:
        """Raise StoreError where the settings are not those that the fingerprint is of."""
        config = str(self._checked.attribute("config") or "")
        found = hashlib.sha256(encode_text(config, "config")).hexdigest()
        if found != self._checked.attribute("fingerprint"):
            raise StoreError(
                f"{self.path} is damaged: its settings do not match their fingerprint; "
                "convert again with --overwrite"
            )

    @property
    def spectrogram_attributes(self) -> dict[str, Any]:
        """``units`` and ``long_name`` of ``/spectrogram``."""
        found = self._checked.attributes("spectrogram")
        return {name: found.get(name) or "" for name in ("units", "long_name")}

    def order(self) -> np.ndarray:
        """Rows of the index in the order of the items' frames."""
        return np.lexsort((self.index["length"], self.index["start"]))

    def overlapping(self) -> np.ndarray:
        """Rows of the index whose items begin before one that comes earlier has ended."""
        order = self.order()
        start, length = self.index["start"][order], self.index["length"][order]
        # an item without frames has none to share
        order, start, stop = (column[length > 0] for column in (order, start, start + length))
        rows: np.ndarray = order[1:][start[1:] < np.maximum.accumulate(stop)[:-1]]
        return rows

    def check_seal(self) -> None:
        """Raise StoreError where a byte has changed that lies in no chunk of ``/spectrogram``."""
        self._checked.check_seal(self._spectrogram)

    def chunk(self, number: int) -> memoryview:
        """One chunk as stored, checked against its checksum."""
        data, is_whole = self.stored_chunk(number)
        if not is_whole:
            raise StoreError(f"{self.path} is damaged: {self._chunk_name(number)}")
        return data

    def stored_chunk(self, number: int) -> tuple[memoryview, bool]:
        """One chunk as stored, and whether it is as it was written."""
        first = number * self.layout.chunk_frames
        with reported_h5_errors(self.path, f"chunk {number} of /spectrogram"):
            if self.layout.compression == "none":
                # HDF5's direct read trusts the length a forged file gives a plain chunk
                rows = self._spectrogram[first : first + self.layout.chunk_frames]
                data, mask = rows.reshape(-1).view(np.uint8).data, 0
            else:
                # deflate makes random bytes a little longer
                room = np.empty(self.layout.chunk_bytes * 1001 // 1000 + 1024, dtype=np.uint8)
                mask, data = read_chunk(self._spectrogram, first, room)
        return memoryview(data), not mask and checksum(data) == self.crc32[number]

    def item_rows(self, row: int, first: int, stop: int) -> np.ndarray:
        """Rows ``first`` to ``stop`` of the item in a row of the index, as `rows` gives them.

        Where another program has written chunks anew, the item's digest stands for checksums.
        """
        start = int(self.index["start"][row])
        try:
            return self.rows(start + first, start + stop)
        except StoreError as error:
            if is_from_system(error) or not self.matches_digest(row):
                raise
        return self.rows(start + first, start + stop, checked=False)

    def matches_digest(self, row: int) -> bool:
        """Whether an item has the rows that it had, whatever bytes its chunks have."""
        start, length = int(self.index["start"][row]), int(self.index["length"][row])
        digest = hashlib.sha256()
        try:
            for rows in self.slabs(start, start + length, checked=False):
                digest.update(rows.data)
        except StoreError as error:
            if is_from_system(error):
                raise
            return False
        return bool(digest.hexdigest().encode() == self.index["digest"][row])

    def slabs(self, start: int, stop: int, *, checked: bool = True) -> Iterator[np.ndarray]:
        """Rows as `rows` gives them, those of one chunk at a time."""
        size = self.layout.chunk_frames
        while start < stop:
            end = min(start - start % size + size, stop)
            yield self.rows(start, end, checked=checked)
            start = end

    def rows(self, start: int, stop: int, *, checked: bool = True) -> np.ndarray:
        """Rows as stored, shape (stop - start, width); a copy.

        Parameters
        ----------
        checked : bool
            Whether chunks must match their checksums; else who asks must know the rows otherwise.
        """
        rows = np.empty((stop - start, self.layout.width), dtype=self.layout.stored_dtype)
        size = self.layout.chunk_frames
        position = start
        while position < stop:
            number, first = divmod(position, size)
            taken = min(size - first, stop - position)
            place = slice(position - start, position - start + taken)
            rows[place] = self.chunk_rows(number, checked=checked)[first : first + taken]
            position += taken
        return rows

    def chunk_rows(self, number: int, *, checked: bool = True) -> np.ndarray:
        """Rows of one chunk, shape (chunk_frames, width); the last checked ones are kept."""
        with self._cache_lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
        try:
            data = self.chunk(number) if checked else self.stored_chunk(number)[0]
            rows = self._codec.decode(data)
        except StoreError as error:
            if str(self.path) in str(error):
                raise
            raise StoreError(
                f"{self.path} is damaged: {self._chunk_name(number)}: {error}"
            ) from error
        if not checked:
            return rows
        with self._cache_lock:
            self._cache[number] = rows
            while len(self._cache) > max(_CACHE_BYTES // self.layout.chunk_bytes, 1):
                self._cache.popitem(last=False)
        return rows

    def _chunk_name(self, number: int) -> str:
        first = number * self.layout.chunk_frames
        last = first + self.layout.chunk_frames - 1
        return f"chunk {number} of /spectrogram (rows {first} to {last})"

    def _read_contents(self) -> None:
        checked = self._checked
        self._check_version()
        self._spectrogram = checked.spectrogram()
        self.n_rows = int(self._spectrogram.shape[0])
        self.layout = self._read_layout()
        n_chunks = self.n_rows // self.layout.chunk_frames
        self.crc32 = checked.array("chunks/crc32", "u4", (n_chunks,))
        self.frequency = checked.array("frequency", "f8", (self.layout.n_bins,))
        self.index = self._read_index()
        self.errors = self._read_table("errors", ERROR_TYPES)
        self.basis = read_basis_table(checked)
        self._check_index()
        count = int(checked.array("stats/count", "i8", ()))
        self.mean = checked.array("stats/mean", "f8", self.layout.frame_shape)
        self.std = checked.array("stats/std", "f8", self.layout.frame_shape)
        # damaged numbers may be anything; `specctl.store.verify` finds them
        with np.errstate(all="ignore"):
            m2 = self.std.reshape(-1) ** 2 * count
        self.moments = Moments(count, self.mean.reshape(-1), m2)

    def _check_version(self) -> None:
        found = self._checked.attribute("format")
        if found != FORMAT:
            raise StoreError(
                f"{self.path} is not a specctl store: its attribute format is {found!r}"
            )
        version = self._checked.attribute("format_version")
        if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
            raise StoreError(
                f"{self.path} has format version {version}, this specctl reads "
                f"1 to {FORMAT_VERSION}; upgrade specctl or convert again"
            )

    def _read_layout(self) -> Layout:
        dataset = self._spectrogram
        names = ("scale_factor", "add_offset", "max_error")
        values = {name: self._checked.attribute(name, "spectrogram") for name in names}
        for name, value in values.items():
            if dataset.dtype.kind in "iu" and not isinstance(value, float):
                raise StoreError(
                    f"{self.path}: /spectrogram is damaged: {name} must be a float64, got {value}"
                )
        try:
            return Layout(
                n_bins=dataset.shape[1],
                is_complex=dataset.ndim == 3,
                dtype=dataset.dtype.name,
                compression="gzip" if dataset.id.get_create_plist().get_nfilters() else "none",
                chunk_frames=dataset.chunks[0],
                **{name: float(value) for name, value in values.items() if value is not None},
            )
        except (ParameterError, ValueError) as error:
            raise StoreError(f"{self.path}: /spectrogram is damaged: {error}") from error

    def _read_table(self, group: str, types: dict[str, type]) -> Table:
        table: Table = {}
        n_rows = None
        for name, kind in types.items():
            column = self._checked.array(f"{group}/{name}", COLUMN_TYPES[kind], (n_rows,))
            n_rows = len(column)
            table[name] = column
        return table

    def _read_index(self) -> Table:
        required = {name: kind for name, kind in INDEX_TYPES.items() if name != OPTIONAL}
        table = self._read_table("index", required)
        shape = (len(table["key"]),)
        if self._checked.has(f"index/{OPTIONAL}"):
            table[OPTIONAL] = self._checked.array(f"index/{OPTIONAL}", COLUMN_TYPES[bool], shape)
        self._index_names = list(table)
        table.setdefault(OPTIONAL, np.zeros(shape, dtype=COLUMN_TYPES[bool]))
        return table

    def _check_index(self) -> None:
        start, length = self.index["start"], self.index["length"]
        inside = (start >= 0) & (length >= 0) & (length <= self.n_rows - start)
        if not inside.all():
            key = decode_text(bytes(self.index["key"][~inside][0]))
            raise StoreError(
                f"{self.path} is damaged: item {key!r} is outside the {self.n_rows} rows"
            )
