"""The seal: a checksum of every byte of a store that lies in no chunk of ``/spectrogram``.

Chunks have checksums of their own. The rest is attributes, tables, and what HDF5 keeps for itself:
headers, trees of chunks, free space. A flipped bit there may change a unit or a setting, or
nothing at all until somebody writes to the file; with the seal it is found wherever it is.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from specctl.errors import StoreError

SEAL = "seal_sha256"
"""Attribute of the root: 64 hex digits, which are left out when they are computed."""

LENGTH = 64
_BLOCK = 1 << 20

Span = tuple[int, int]
Read = Callable[[int, int], bytes]
"""Bytes from an offset on, as many as wanted or as there are."""


def placeholder() -> str:
    """What stands in the attribute until the seal is known; unlike anything else in the file."""
    return uuid.uuid4().hex + uuid.uuid4().hex


def chunk_spans(dataset: Any, n_chunks: int) -> list[Span]:
    """First byte and byte after the last of each stored chunk of an h5py dataset, in order.

    Raises
    ------
    StoreError
        There are more than ``n_chunks``, as only a damaged file has.
    """
    spans: list[Span] = []

    def add(info: Any) -> bool | None:
        spans.append((info.byte_offset, info.byte_offset + info.size))
        # anything but None ends the walk
        return True if len(spans) > n_chunks else None

    dataset.id.chunk_iter(add)
    if len(spans) > n_chunks:
        raise StoreError(f"/spectrogram has more than its {n_chunks} chunks")
    return sorted(spans)


def find(read: Read, size: int, spans: list[Span], value: str) -> int:
    """Offset of a seal, or of its placeholder, in a file of ``size`` bytes.

    Raises
    ------
    StoreError
        It is not there, or more than once.
    """
    wanted, found = value.encode(), set()
    for start, stop in _gaps(spans, size):
        for first in range(start, stop, _BLOCK):
            # as many bytes of the next block as a value that begins in this one can have
            block = read(first, min(_BLOCK + LENGTH - 1, stop - first))
            at = block.find(wanted)
            while at >= 0:
                found.add(first + at)
                at = block.find(wanted, at + 1)
    if len(found) != 1:
        raise StoreError(f"its seal is there {len(found)} times")
    return found.pop()


def compute(read: Read, size: int, spans: list[Span], seal_at: int) -> str:
    """The seal of a file of ``size`` bytes whose own seal begins at ``seal_at``."""
    digest = hashlib.sha256()
    for start, stop in _gaps([*spans, (seal_at, seal_at + LENGTH)], size):
        for first in range(start, stop, _BLOCK):
            digest.update(read(first, min(_BLOCK, stop - first)))
    return digest.hexdigest()


def _gaps(spans: list[Span], size: int) -> Iterator[Span]:
    """What lies between spans, to the end of the file; empty stretches are left out."""
    position = 0
    for start, stop in sorted(spans):
        if start > position:
            yield position, min(start, size)
        position = max(position, stop)
    if position < size:
        yield position, size
