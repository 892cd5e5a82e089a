"""FLAC files of nothing but silence, which unpack to fifty thousand times their size."""

import struct

BLOCK = 65_535
"""Samples of a frame, the most that a header has room for."""


def silent_flac(seconds: float, n_channels: int, *, rate: int = 48_000) -> bytes:
    """A good file of constant frames, 16 bits a sample."""
    n_samples = round(seconds * rate)
    n_frames = n_samples // BLOCK
    total = n_frames * BLOCK
    packed = rate << 44 | (n_channels - 1) << 41 | 15 << 36 | total
    # block sizes, frame sizes unknown, then rate, channels, depth and length, no MD5
    info = struct.pack(">HH", BLOCK, BLOCK) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    frames = (_frame(number, n_channels) for number in range(n_frames))
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info + b"".join(frames)


def _frame(number: int, n_channels: int) -> bytes:
    """Sync code, block size at the end, rate as in the file; a constant 0 in each channel."""
    header = bytes((0xFF, 0xF8, 0x70, (n_channels - 1) << 4 | 0x08))
    header += _utf8(number) + struct.pack(">H", BLOCK - 1)
    header += bytes([_crc(header, 0x07, 8)])
    body = header + b"\0\0\0" * n_channels
    return body + _crc(body, 0x8005, 16).to_bytes(2, "big")


def _utf8(number: int) -> bytes:
    """A number as UTF-8 has it."""
    return chr(number).encode("utf-8", "surrogatepass")


def _crc(data: bytes, polynomial: int, n_bits: int) -> int:
    value, top, mask = 0, 1 << (n_bits - 1), (1 << n_bits) - 1
    for byte in data:
        value ^= byte << (n_bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value
