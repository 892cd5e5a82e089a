"""Part files: what one worker writes, complete or absent.

A part is not HDF5 but an append-only file of our own: compressed chunks one after another, then a
footer. A full disk is then an ``OSError`` like any other (with HDF5 it can end the process), a
discarded source is a truncation, a resumed run never has HDF5 parse what a killed one left, and
`specctl.store.merge` copies the chunks into the HDF5 store as they are.

`specctl.store.part_reader` has the format.
"""

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from specctl.durable import begin_writing, publish, reported_os_errors, write_all
from specctl.errors import ParameterError, StoreError
from specctl.store.chunks import ChunkCodec, checksum
from specctl.store.layout import FILL_VALUE, FailureRecord, ItemRecord, Layout
from specctl.store.part_reader import END, HEADER, TABLE_DTYPE, TRAILER, Part, read_part
from specctl.store.spill import Spill
from specctl.store.stats import MomentsGatherer
from specctl.store.values import write_values

__all__ = ["Part", "PartWriter", "read_part"]


_BEGIN_BYTES = 1 << 22
"""The disk is given at least so many bytes at a time: each time costs about 50 microseconds."""

_FOOTER_ITEMS = 1000
"""Items of the footer that become JSON at a time."""


class _Mark(NamedTuple):
    """Where the writer stood when a source began; all that `discard_source` needs."""

    n_bytes: int
    n_chunks: int
    n_buffered: int
    n_items: int
    n_moments: int


class PartWriter:
    """Writes one part; a context manager that leaves nothing behind unless `finish` was called.

    Parameters
    ----------
    path : Path
        Final name. Until `publish`, bytes go to the same name plus ``.tmp-`` and a random number:
        processes of several machines, whose numbers may be equal, may write to a folder.
    layout : Layout

    Raises
    ------
    StoreError
        From any method: chained to an ``OSError`` where the file cannot be written, else the
        values given cannot be stored and `discard_source` lets the part go on without them.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.layout = layout
        self.seconds = {"compress": 0.0, "write": 0.0}
        self._codec = ChunkCodec(layout)
        self._buffer = np.full(
            (layout.chunk_frames, layout.width), FILL_VALUE, dtype=layout.stored_dtype
        )
        self._n_buffered = 0
        self._gatherer = MomentsGatherer(layout.width)
        self._table: list[tuple[int, int]] = []
        self._items: list[ItemRecord] = []
        self._moments = Spill(path)
        self._failures: list[FailureRecord] = []
        self._mark: _Mark | None = None
        self._earlier_rows: np.ndarray | None = None
        self._temporary = path.with_name(f"{path.name}.tmp-{secrets.randbits(62)}")
        self._n_bytes = self._n_begun = 0
        with reported_os_errors(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._descriptor: int | None = os.open(self._temporary, flags, 0o666)
        try:
            self._write(HEADER)
        except StoreError:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._moments.close()
        if self._descriptor is not None:
            self._close()
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    @property
    def n_items(self) -> int:
        """Items ended so far."""
        return len(self._items)

    @property
    def n_bytes(self) -> int:
        """Bytes written so far."""
        return self._n_bytes

    def begin_source(self) -> None:
        """Start a source, whose items follow; `end_source` or `discard_source` ends it."""
        if self._mark is not None:
            raise ParameterError("begin_source must follow the end of the source before")
        self._mark = _Mark(
            n_bytes=self._n_bytes,
            n_chunks=len(self._table),
            n_buffered=self._n_buffered,
            n_items=len(self._items),
            n_moments=self._moments.size,
        )
        self._begin_item()

    def append(self, frames: np.ndarray) -> None:
        """Add frames to the item.

        Parameters
        ----------
        frames : ndarray, shape (n, n_bins), complex (n, n_bins, 2), float32
            Values before scaling or rounding. Any division into calls gives the same bytes.

        Raises
        ------
        StoreError
            A value is not finite or outside the range of the stored type.
        """
        if self._mark is None:
            raise ParameterError("append must follow begin_source")
        if frames.ndim < 2 or frames.shape[1:] != self.layout.frame_shape:
            wanted = ", ".join(["n", *map(str, self.layout.frame_shape)])
            raise ParameterError(f"frames must have shape ({wanted}), got {frames.shape}")
        rows = np.ascontiguousarray(frames, dtype=np.float32).reshape(-1, self.layout.width)
        self._n_frames += len(rows)
        self._gatherer.add(rows)
        while len(rows):
            taken = min(len(rows), self.layout.chunk_frames - self._n_buffered)
            place = self._buffer[self._n_buffered : self._n_buffered + taken]
            write_values(rows[:taken], place, self.layout)
            self._digest.update(place.data)
            self._n_buffered += taken
            rows = rows[taken:]
            if self._n_buffered == self.layout.chunk_frames:
                self._flush_chunk()

    def end_item(self, **fields: Any) -> ItemRecord:
        """Complete an item; what is appended next belongs to the next one.

        Parameters
        ----------
        **fields
            Of `ItemRecord`, all but ``n_frames`` and ``digest``.
        """
        if self._mark is None:
            raise ParameterError("end_item must follow begin_source")
        moments = self._gatherer.finish()
        record = ItemRecord.from_dict(
            {**fields, "n_frames": self._n_frames, "digest": self._digest.hexdigest()}
        )
        with reported_os_errors(self.path):
            self._moments.append(np.array([moments.mean, moments.m2], dtype="<f8").tobytes())
        self._items.append(record)
        self._begin_item()
        return record

    def end_source(self, **fields: Any) -> None:
        """Keep the items of the source.

        Parameters
        ----------
        **fields
            Of `ItemRecord`, such as are known now only, for all of these items.
        """
        if self._mark is None or self._n_frames:
            raise ParameterError("end_source must follow end_item")
        if fields:
            first = self._mark.n_items
            self._items[first:] = [replace(item, **fields) for item in self._items[first:]]
        self._mark, self._earlier_rows = None, None

    def discard_source(self) -> None:
        """Forget everything since `begin_source`; nothing to do without one."""
        if self._mark is None:
            return
        n_bytes, n_chunks, n_buffered, n_items, n_moments = self._mark
        with reported_os_errors(self.path):
            os.ftruncate(self._open_descriptor(), n_bytes)
            os.lseek(self._open_descriptor(), n_bytes, os.SEEK_SET)
        self._n_bytes = n_bytes
        del self._table[n_chunks:]
        del self._items[n_items:]
        self._moments.truncate(n_moments)
        if self._earlier_rows is not None:
            self._buffer[:n_buffered] = self._earlier_rows
        self._n_buffered = n_buffered
        self._mark, self._earlier_rows = None, None

    def fail(self, failure: FailureRecord) -> None:
        """Record a source that could not be converted."""
        self._failures.append(failure)

    def finish(self, *, extra: dict[str, Any] | None = None) -> None:
        """Write what is left of the part; `publish` has still to be called.

        Parameters
        ----------
        extra : dict, optional
            Kept in the footer; anything JSON takes.
        """
        if self._mark is not None:
            raise ParameterError("finish must follow the end of the source before")
        if self._n_buffered:
            self._buffer[self._n_buffered :] = FILL_VALUE
            self._flush_chunk()
        tail_start = self._n_bytes
        digest = hashlib.sha256()
        table = np.array(self._table, dtype=TABLE_DTYPE).tobytes()
        lengths = [
            self._write_pieces(pieces, digest)
            for pieces in (self._moments.pieces(), [table], self._footer(extra or {}))
        ]
        size = self._n_bytes + TRAILER.size
        self._write(TRAILER.pack(tail_start, *lengths, size, digest.digest(), END))
        self._moments.close()
        self._close()

    def publish(self) -> None:
        """Give a part that is finished its name; it is durable when this returns."""
        if self._descriptor is not None:
            raise ParameterError("publish must follow finish")
        started = time.perf_counter()
        try:
            publish(self._temporary, self.path)
        except StoreError:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
            raise
        self.seconds["write"] += time.perf_counter() - started

    def _footer(self, extra: dict[str, Any]) -> Iterator[bytes]:
        """The JSON of the footer piece by piece: a long file has items by the hundred thousand."""
        yield b'{"items": ['
        for start in range(0, len(self._items), _FOOTER_ITEMS):
            some = [item.to_dict() for item in self._items[start : start + _FOOTER_ITEMS]]
            yield b", " * (start > 0) + json.dumps(some)[1:-1].encode("ascii")
        others = {
            "layout": self.layout.to_dict(),
            "n_chunks": len(self._table),
            "failures": [failure.to_dict() for failure in self._failures],
            "extra": extra,
        }
        yield f"], {json.dumps(others)[1:]}".encode("ascii")

    def _write_pieces(self, pieces: Iterable[bytes], digest: "hashlib._Hash") -> int:
        """Write what is also to be in a checksum, and say how many bytes it was."""
        start = self._n_bytes
        with reported_os_errors(self.path):
            for piece in pieces:
                digest.update(piece)
                self._write(piece)
        return self._n_bytes - start

    def _flush_chunk(self) -> None:
        started = time.perf_counter()
        data = self._codec.encode(self._buffer)
        self._table.append((len(data), checksum(data)))
        self.seconds["compress"] += time.perf_counter() - started
        self._keep_earlier_rows()
        self._n_buffered = 0
        self._write(data)
        if self._n_bytes >= self._n_begun + _BEGIN_BYTES:
            self._n_begun = self._n_bytes
            begin_writing(self._open_descriptor())

    def _begin_item(self) -> None:
        self._gatherer.reset()
        self._digest = hashlib.sha256()
        self._n_frames = 0

    def _keep_earlier_rows(self) -> None:
        """Keep the rows of earlier sources that share the first chunk, for `discard_source`."""
        mark = self._mark
        is_first = mark is not None and len(self._table) == mark.n_chunks + 1
        if mark is not None and is_first and mark.n_buffered:
            self._earlier_rows = self._buffer[: mark.n_buffered].copy()

    def _write(self, data: bytes | memoryview) -> None:
        started = time.perf_counter()
        with reported_os_errors(self.path):
            write_all(self._open_descriptor(), data)
        self._n_bytes += len(data)
        self.seconds["write"] += time.perf_counter() - started

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise ParameterError(f"part {self.path} must be open, it is committed or abandoned")
        return self._descriptor

    def _close(self) -> None:
        with reported_os_errors(self.path):
            descriptor, self._descriptor = self._open_descriptor(), None
            os.close(descriptor)
