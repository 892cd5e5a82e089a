"""Between rows and the bytes of one HDF5 chunk, without the HDF5 library.

The bytes are what HDF5's own shuffle and deflate filters read; ISA-L makes and reads them several
times faster and outside the GIL, and reading them here bounds the memory that a forged chunk can
take.
"""

from typing import Any, cast

import numpy as np
from isal import isal_zlib

from specctl.errors import StoreError
from specctl.store.deflate import deflated
from specctl.store.layout import Layout

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
            return deflated(plain[None], self.layout.width)
        # a reader of stores needs no compiler
        from specctl.store.compiled import shuffle

        shuffle(self._item_bytes)(rows.reshape(-1), self._scratch)
        return deflated(self._scratch, self.layout.width)

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
