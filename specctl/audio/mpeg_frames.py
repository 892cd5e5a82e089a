"""Headers of MPEG audio frames, and how they follow each other."""

import functools
from typing import NamedTuple

import numpy as np

from specctl.audio.machine_code import called

MPEG1 = 3  # version as the header has it
MONO = 3  # mode as the header has it
SYNC = 0xFF  # the first byte of a header, and the upper half of the second
NO_CHECKSUM = 1  # flag in the second byte of a header
HEADER_SIZE = 4  # bytes
MAX_FRAME = 8192  # bytes; more than any has
XING_MARKS = (b"Xing", b"Info")

_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_KBITS = {  # by (is MPEG 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}

Kind = tuple[int, int, int]
"""Version, layer, sample rate: the same in all frames of a stream."""


class Frame(NamedTuple):
    """What the header of one frame says."""

    length: int  # bytes
    kind: Kind
    n_samples: int
    xing_at: int  # offset of a Xing header within the frame; 0 in layers without


@functools.lru_cache(maxsize=1024)
def parse_frame(header: bytes) -> Frame | None:
    """What the four bytes of a frame header say; None if they are not one."""
    if len(header) < HEADER_SIZE or header[0] != SYNC or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate_index, bit_rate_index = header[2] >> 2 & 3, header[2] >> 4
    if version == 1 or layer == 4 or rate_index == 3 or bit_rate_index in (0, 15):
        return None
    is_mpeg1 = version == MPEG1
    rate = _RATES[version][rate_index]
    bits = _KBITS[is_mpeg1, layer][bit_rate_index - 1] * 1000
    padding = header[2] >> 1 & 1
    if layer == 1:
        length = (12 * bits // rate + padding) * 4
    else:
        length = (144 if is_mpeg1 or layer == 2 else 72) * bits // rate + padding
    is_mono = header[3] >> 6 == MONO
    side = (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)
    n_samples = 384 if layer == 1 else 1152 if is_mpeg1 or layer == 2 else 576
    return Frame(length, (version, layer, rate), n_samples, 4 + side if layer == 3 else 0)


def is_frame(head: bytes) -> bool:
    """Whether a file that begins like this begins with a frame of MPEG audio."""
    return parse_frame(head[:HEADER_SIZE]) is not None


def follow_frames(window: bytes, start: int, stop: int, kind: Kind) -> tuple[int, int]:
    """Go from frame to frame of one kind, from ``start`` to ``stop`` at most.

    A loop in Python takes a millisecond for half a minute of sound.

    Returns
    -------
    n_frames : int
        Frames that end at ``stop`` or before it, up to one with a Xing header.
    at : int
        Where the last of them ends; ``start`` if there are none.
    """
    lookup = _lookup(kind)
    data = np.frombuffer(window, np.uint8)
    result = np.empty(2, np.int64)
    tables = lookup.lengths.ctypes.data, lookup.xing_at.ctypes.data
    follow = called("follow", "pnnnnppp")
    follow(data.ctypes.data, len(data), start, stop, lookup.second, *tables, result.ctypes.data)
    n_frames, at = result.tolist()
    return n_frames, at


class _Lookup(NamedTuple):
    """What `parse_frame` says of the headers of one kind, byte by byte."""

    second: int  # with the flag for no checksum
    lengths: np.ndarray  # by the third byte; 0 where it belongs to another kind, or to none
    xing_at: np.ndarray  # by the fourth byte


@functools.lru_cache(maxsize=32)
def _lookup(kind: Kind) -> _Lookup:
    version, layer, _ = kind
    second = 0xE0 | version << 3 | (4 - layer) << 1 | NO_CHECKSUM
    by_third = [parse_frame(bytes((SYNC, second, third, 0))) for third in range(256)]
    lengths = [each.length if each and each.kind == kind else 0 for each in by_third]
    third = int(np.argmax(lengths))
    by_fourth = [parse_frame(bytes((SYNC, second, third, fourth))) for fourth in range(256)]
    xing_at = [each.xing_at if each else 0 for each in by_fourth]
    return _Lookup(second, np.array(lengths, np.int64), np.array(xing_at, np.int64))
