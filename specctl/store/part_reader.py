"""The format of part files, and reading them; `specctl.store.part` says why they are.

::

    HEADER                    16 bytes
    chunks                    n_chunks times the bytes of an HDF5 chunk
    moments                   n_items x (2, width) float64: mean and M2 of each item
    chunk table               n_chunks x (length uint64, CRC-32 uint32)
    footer                    JSON: layout, items, failures, n_chunks, extra
    trailer                   where the moments begin, bytes of moments, table and footer, size of
                              the file, SHA-256 of moments + table + footer, END

All numbers are little-endian. Items follow each other without gaps; after the last one, the last
chunk is filled up with the fill value. The chunks depend on nothing but the items.
"""

import hashlib
import json
import operator
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from specctl.durable import let_go, reported_os_errors
from specctl.errors import ParameterError, StoreError
from specctl.store.chunks import checksum
from specctl.store.layout import FailureRecord, ItemRecord, Layout
from specctl.store.stats import Moments

HEADER = b"specctl part 1\r\n"
END = b"specctl part end"
TRAILER = struct.Struct("<QQQQQ32s16s")
# what JSON of anybody's may lead to
_NOT_A_FOOTER = (
    *(ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
    ParameterError,
)
TABLE_DTYPE = np.dtype([("length", "<u8"), ("crc32", "<u4")])


_PIECE_BYTES = 1 << 20
"""Moments are read piece by piece: those of many short items may not fit in memory."""


class _Tail(NamedTuple):
    """What comes after the chunks, and the byte where it begins; the moments stay in the file."""

    start: int
    n_moments: int
    moments_sha256: bytes
    table: bytes
    footer: bytes


@dataclass(frozen=True)
class Part:
    """A finished part; the chunks and moments stay in the file until they are wanted.

    Parameters
    ----------
    chunk_table : ndarray, shape (n_chunks,), fields ``length`` and ``crc32``
    moments_start : int
        Byte of the file where those of the first item begin.
    moments_sha256 : bytes
        Of the moments of all items, which `iter_moments` reads again.
    extra : dict
        What the writer gave to `PartWriter.finish`.
    """

    path: Path
    layout: Layout
    items: list[ItemRecord]
    failures: list[FailureRecord]
    chunk_table: np.ndarray
    moments_start: int
    moments_sha256: bytes
    extra: dict[str, Any]

    @property
    def n_frames(self) -> int:
        """Frames of all items."""
        return sum(item.n_frames for item in self.items)

    @property
    def n_rows(self) -> int:
        """Rows of all chunks: the frames and the padding after them."""
        return len(self.chunk_table) * self.layout.chunk_frames

    def is_of(self, job: str) -> bool:
        """Whether it was made for the conversion with this id."""
        return bool(self.extra.get("job") == job)

    def iter_moments(self) -> Iterator[Moments]:
        """Moments of each item: mean and sum of squared deviations of its frames.

        Whether they are those that `read_part` has checked is known after the last one.
        """
        digest = hashlib.sha256()
        n_bytes = moments_bytes(self.layout)
        with reported_os_errors(self.path, "read"), self.path.open("rb") as file:
            file.seek(self.moments_start)
            for item in self.items:
                data = file.read(n_bytes)
                digest.update(data)
                if len(data) != n_bytes:
                    break
                mean, m2 = np.frombuffer(data, dtype="<f8").reshape(2, -1)
                yield Moments(item.n_frames, mean, m2)
        if digest.digest() != self.moments_sha256:
            raise StoreError(f"part {self.path} is damaged: its moments have changed")

    def iter_chunks(self) -> Iterator[tuple[int, bytes]]:
        """Row each chunk begins at and its bytes as stored, checked against its checksum.

        For a part that is read once: the system may then use its memory for others.
        """
        with reported_os_errors(self.path, "read"), self.path.open("rb") as file:
            position = file.seek(len(HEADER))
            for number, (length, crc32) in enumerate(self.chunk_table.tolist()):
                data = file.read(length)
                if len(data) != length or checksum(data) != crc32:
                    raise StoreError(
                        f"part {self.path} is damaged: chunk {number} at byte {position}"
                    )
                position += length
                yield number * self.layout.chunk_frames, data
            let_go(file.fileno())


def moments_bytes(layout: Layout) -> int:
    """Bytes of the moments of one item."""
    return 2 * operator.index(layout.width) * np.dtype("<f8").itemsize


def read_part(path: Path) -> Part:
    """Read what a part holds, all but the chunks and the moments.

    Raises
    ------
    StoreError
        The file cannot be read, is no part, is incomplete or damaged.
    """
    with reported_os_errors(path, "read"), path.open("rb") as file:
        tail = _read_tail(path, file)
    try:
        footer = json.loads(tail.footer)
        layout = Layout.from_dict(footer["layout"])
        items = [ItemRecord.from_dict(item) for item in footer["items"]]
        moments_fit = tail.n_moments == len(items) * moments_bytes(layout)
        part = Part(
            path=path,
            layout=layout,
            items=items,
            failures=[FailureRecord.from_dict(failure) for failure in footer["failures"]],
            chunk_table=np.frombuffer(tail.table, dtype=TABLE_DTYPE),
            moments_start=tail.start,
            moments_sha256=tail.moments_sha256,
            extra=footer["extra"],
        )
    except _NOT_A_FOOTER as error:
        raise StoreError(f"part {path} is damaged: its footer says {error}") from error
    n_chunk_bytes = int(part.chunk_table["length"].sum())
    rows_fit = part.n_rows - layout.chunk_frames < part.n_frames <= part.n_rows
    chunks_fit = n_chunk_bytes == tail.start - len(HEADER) and (rows_fit or part.n_rows == 0)
    if not (chunks_fit and moments_fit):
        raise StoreError(f"part {path} is damaged: its chunks and its items do not fit together")
    return part


def _read_tail(path: Path, file: BinaryIO) -> _Tail:
    """What comes after the chunks, checked by size and SHA-256."""
    if file.read(len(HEADER)) != HEADER:
        raise StoreError(f"{path} is not a part of this version of specctl")
    size = file.seek(0, 2)
    if size < len(HEADER) + TRAILER.size:
        raise StoreError(f"part {path} is incomplete: {size} bytes")
    file.seek(size - TRAILER.size)
    *lengths, digest, end = TRAILER.unpack(file.read(TRAILER.size))
    tail_start, n_moments, n_table, n_footer, written_size = lengths
    n_tail = n_moments + n_table + n_footer
    if end != END or written_size != size or tail_start + n_tail + TRAILER.size != size:
        raise StoreError(f"part {path} is incomplete or damaged: its last bytes are no trailer")
    file.seek(tail_start)
    found = hashlib.sha256()
    for start in range(0, n_moments, _PIECE_BYTES):
        found.update(file.read(min(_PIECE_BYTES, n_moments - start)))
    moments_sha256 = found.digest()
    table, footer = file.read(n_table), file.read(n_footer)
    found.update(table)
    found.update(footer)
    if found.digest() != digest:
        raise StoreError(f"part {path} is damaged: its footer does not match its checksum")
    return _Tail(tail_start, n_moments, moments_sha256, table, footer)
