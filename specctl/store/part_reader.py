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
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

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


@dataclass(frozen=True)
class Part:
    """A finished part; the chunks stay in the file until `iter_chunks` reads them.

    Parameters
    ----------
    chunk_table : ndarray, shape (n_chunks,), fields ``length`` and ``crc32``
    moments : ndarray, shape (n_items, 2, width), float64
        Mean and sum of squared deviations of each item's frames.
    extra : dict
        What the writer gave to `PartWriter.commit`.
    """

    path: Path
    layout: Layout
    items: list[ItemRecord]
    failures: list[FailureRecord]
    chunk_table: np.ndarray
    moments: np.ndarray
    extra: dict[str, Any]

    @property
    def n_frames(self) -> int:
        """Frames of all items."""
        return sum(item.n_frames for item in self.items)

    @property
    def n_rows(self) -> int:
        """Rows of all chunks: the frames and the padding after them."""
        return len(self.chunk_table) * self.layout.chunk_frames

    def iter_moments(self) -> Iterator[Moments]:
        """Moments of each item."""
        for item, (mean, m2) in zip(self.items, self.moments, strict=True):
            yield Moments(item.n_frames, mean, m2)

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


def read_part(path: Path) -> Part:
    """Read what a part holds, all but the chunks.

    Raises
    ------
    StoreError
        The file cannot be read, is no part, is incomplete or damaged.
    """
    with reported_os_errors(path, "read"), path.open("rb") as file:
        moments_bytes, table_bytes, footer_bytes, tail_start = _read_tail(path, file)
    try:
        footer = json.loads(footer_bytes)
        layout = Layout.from_dict(footer["layout"])
        items = [ItemRecord.from_dict(item) for item in footer["items"]]
        part = Part(
            path=path,
            layout=layout,
            items=items,
            failures=[FailureRecord.from_dict(failure) for failure in footer["failures"]],
            chunk_table=np.frombuffer(table_bytes, dtype=TABLE_DTYPE),
            moments=np.frombuffer(moments_bytes, dtype="<f8").reshape(len(items), 2, layout.width),
            extra=footer["extra"],
        )
    except _NOT_A_FOOTER as error:
        raise StoreError(f"part {path} is damaged: its footer says {error}") from error
    n_chunk_bytes = int(part.chunk_table["length"].sum())
    rows_fit = part.n_rows - layout.chunk_frames < part.n_frames <= part.n_rows
    if n_chunk_bytes != tail_start - len(HEADER) or not (rows_fit or part.n_rows == 0):
        raise StoreError(f"part {path} is damaged: its chunks and its items do not fit together")
    return part


def _read_tail(path: Path, file: BinaryIO) -> tuple[bytes, bytes, bytes, int]:
    """Moments, table, footer and where the first begins, checked by size and SHA-256."""
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
    tail = file.read(n_tail)
    if hashlib.sha256(tail).digest() != digest:
        raise StoreError(f"part {path} is damaged: its footer does not match its checksum")
    table_start, footer_start = n_moments, n_moments + n_table
    return tail[:table_start], tail[table_start:footer_start], tail[footer_start:], tail_start
