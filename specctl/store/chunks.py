"""Between rows and the bytes of one HDF5 chunk, without the HDF5 library.

The bytes are what HDF5's own shuffle and deflate filters read; ISA-L makes and reads them several
times faster and outside the GIL, and reading them here bounds the memory that a forged chunk can
take.

Of a spectrogram's values the first bytes repeat and the last ones are noise. Each byte of the
values is therefore looked at by itself: what would hardly shrink goes into the stream as it is,
which takes no time, and what shrinks gets a code of its own, which shrinks it further.
"""

import math
import struct
from functools import lru_cache
from typing import Any, cast

import numpy as np
from isal import isal_zlib

from specctl.errors import StoreError
from specctl.store.layout import Layout

_LEVEL = 1
_RAW = -15  # window bits of a stream without header and checksum
_SAMPLE_BYTES = 2048
_MOST_BITS = 6.8
"""A plane goes in as it is if a byte of its sample says more than this."""

_COUNTS = np.arange(_SAMPLE_BYTES + 1)
_COUNT_BITS = _COUNTS * np.log2(np.maximum(_COUNTS, 1))

_ZLIB_HEADER = b"\x78\x01"
_LONGEST_STORED = 0xFFFF  # bytes of a block, by RFC 1951
IsalError = cast(type[Exception], isal_zlib.error)


class ChunkCodec:
    """Encodes and decodes the chunks of one layout; holds scratch memory of one chunk."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._deflate = layout.compression == "gzip"
        self._item_bytes = layout.stored_dtype.itemsize
        # of one-byte values a shuffle would be a copy
        self._shuffle = self._deflate and self._item_bytes > 1
        self._scratch = np.zeros(
            (self._item_bytes, layout.chunk_bytes // self._item_bytes), dtype=np.uint8
        )

    def encode(self, rows: np.ndarray) -> bytes | memoryview:
        """Bytes of a chunk; valid until the scratch or ``rows`` change where nothing compresses.

        Parameters
        ----------
        rows : ndarray, shape (chunk_frames, ...), contiguous, of the stored type
        """
        plain = rows.reshape(-1).view(np.uint8)
        if not self._deflate:
            return plain.data
        if not self._shuffle:
            return isal_zlib.compress(plain.data, _LEVEL)
        # a reader of stores needs no compiler
        from specctl.store.compiled import shuffle

        shuffle(self._item_bytes)(rows.reshape(-1), self._scratch)
        return _deflated(self._scratch, self.layout.width)

    def decode(self, data: bytes | memoryview) -> np.ndarray[Any, np.dtype[Any]]:
        """Rows of a chunk, shape (chunk_frames, width), read-only where nothing compresses."""
        if self._deflate:
            data = _inflate(data, self.layout.chunk_bytes)
        if len(data) != self.layout.chunk_bytes:
            raise StoreError(f"chunk holds {len(data)} bytes, expected {self.layout.chunk_bytes}")
        plain = np.frombuffer(data, dtype=np.uint8)
        if self._shuffle:
            shuffled, plain = plain.reshape(self._item_bytes, -1), np.empty_like(plain)
            # by column, three times as fast as a transposition
            for place, column in enumerate(shuffled):
                plain[place :: self._item_bytes] = column
        return plain.view(self.layout.stored_dtype).reshape(-1, self.layout.width)


def checksum(data: bytes | memoryview | np.ndarray) -> int:
    """CRC-32 as zlib's."""
    return int(isal_zlib.crc32(data))


def _deflated(planes: np.ndarray, width: int) -> bytes:
    """A zlib stream of planes of bytes, one after another; a frame has ``width`` bytes of each."""
    stream = isal_zlib.compressobj(_LEVEL, wbits=_RAW)
    pieces: list[bytes | memoryview] = [_ZLIB_HEADER]
    for plane, shrinks in zip(planes, _which_shrink(planes, width), strict=True):
        if shrinks:
            # what follows begins at a byte and does not refer to what is before
            pieces += [stream.compress(plane.data), stream.flush(isal_zlib.Z_FULL_FLUSH)]
        else:
            for header, place in _stored_blocks(len(plane)):
                pieces += [header, plane.data[place]]
    pieces += [stream.flush(), isal_zlib.adler32(planes.reshape(-1).data).to_bytes(4, "big")]
    return b"".join(pieces)


def _which_shrink(planes: np.ndarray, width: int) -> list[bool]:
    """Of which planes compressing is worth its time, judged by a sample from the middle.

    By the entropy of its bytes, which takes a fifth of the time that compressing it does; or
    because the rows, of ``width`` bytes, repeat, as those of a steady tone may.
    """
    n_planes, n_bytes = planes.shape
    first = max(0, n_bytes - _SAMPLE_BYTES) // 2
    samples = planes[:, first : first + _SAMPLE_BYTES]
    size = samples.shape[1]
    distinct = samples + np.arange(0, 256 * n_planes, 256, dtype=np.uint16)[:, None]
    counts = np.bincount(distinct.reshape(-1), minlength=256 * n_planes).reshape(n_planes, 256)
    shrinks = math.log2(size) - _COUNT_BITS[counts].sum(axis=1) / size <= _MOST_BITS
    if first >= width:
        earlier = planes[:, first - width : first - width + size]
        shrinks |= (samples == earlier).all(axis=1)
    return cast(list[bool], shrinks.tolist())


@lru_cache(maxsize=4)
def _stored_blocks(n_bytes: int) -> list[tuple[bytes, slice]]:
    """Blocks of a deflate stream that hold bytes as they are, none of them the last one.

    For each its header, and which of the bytes follow.
    """
    starts = range(0, n_bytes, _LONGEST_STORED)
    sizes = [min(_LONGEST_STORED, n_bytes - start) for start in starts]
    return [
        (struct.pack("<BHH", 0, size, size ^ 0xFFFF), slice(start, start + size))
        for start, size in zip(starts, sizes, strict=True)
    ]


def _inflate(data: bytes | memoryview, n_bytes: int) -> bytes:
    """Inflate at most ``n_bytes``; StoreError where the stream is damaged or longer."""
    stream = isal_zlib.decompressobj()
    try:
        # one byte more than allowed shows a stream that is too long
        plain: bytes = stream.decompress(data, n_bytes + 1)
    except IsalError as error:
        raise StoreError(f"chunk cannot be decompressed: {error}") from error
    if not stream.eof or stream.unused_data:
        raise StoreError("chunk cannot be decompressed: its stream does not end where it should")
    return plain
