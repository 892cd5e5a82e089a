"""What the headers of the usual WAV files say, read without libsndfile.

Usual are those with nothing before their samples but the form of these, their number, and the
name of the program that wrote them.
"""

import struct
from typing import NamedTuple, Self

from specctl.audio.containers import UNKNOWN_SIZES
from specctl.audio.info import AudioInfo
from specctl.audio.source import SourceFile

FMT = struct.Struct("<4sI4s4sIHHIIHH")
EXTENSIBLE = 0xFFFE
EXTENSION = struct.Struct("<HH4xH14s")  # bytes of the rest, bits that count, tag, kind of tag
KIND = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
CHUNK = struct.Struct("<4sI")
LIST_OF_FACTS = b"INFO"
HEAD = 128  # bytes
MAX_TRAILER = 2**32  # bytes; with more behind the samples their number is not what is declared
ENCODINGS = {
    (1, 8): "pcm_u8",
    (1, 16): "pcm_16",
    (1, 24): "pcm_24",
    (1, 32): "pcm_32",
    (3, 32): "float",
    (3, 64): "double",
}


class WaveHeader(NamedTuple):
    """What a header says, and the offset of the samples in bytes."""

    info: AudioInfo
    samples_at: int


def read_wave_header(source: SourceFile) -> WaveHeader | None:
    """Read a header; None where it is not of the usual kind, or the file no WAV file."""
    head = source.read_at(0, HEAD)
    form = _Form.read(head)
    if form is None:
        return None
    name, n_bytes, at = _chunk(head, FMT.size + (EXTENSION.size if form.is_extensible else 0))
    n_declared = None
    if name == b"fact" and n_bytes == 4:
        n_declared = int.from_bytes(head[at : at + n_bytes], "little")
        name, n_bytes, at = _chunk(head, at + n_bytes)
    if name == b"LIST" and _is_maker(head, at, n_bytes):
        name, n_bytes, at = _chunk(head, at + n_bytes)
    n_behind = source.size - at - n_bytes
    if name != b"data" or n_bytes in UNKNOWN_SIZES or not 0 <= n_behind < MAX_TRAILER:
        return None
    n_samples = n_bytes // form.block_align
    if n_declared not in (None, n_samples):
        return None
    info = AudioInfo(form.rate, form.n_channels, n_samples, form.name, "soundfile")
    return WaveHeader(info, at)


def _chunk(head: bytes, at: int) -> tuple[bytes, int, int]:
    """Name and size of a chunk, and where its body begins; no name where it is too far away."""
    if at + CHUNK.size > len(head):
        return b"", 0, at
    name, n_bytes = CHUNK.unpack_from(head, at)
    return name, n_bytes, at + CHUNK.size


def _is_maker(head: bytes, at: int, n_bytes: int) -> bool:
    """Whether a list says which program made the file, and nothing else."""
    mark, size, _ = _chunk(head, at + len(LIST_OF_FACTS))
    is_list = head[at:].startswith(LIST_OF_FACTS) and mark == b"ISFT"
    return is_list and len(LIST_OF_FACTS) + CHUNK.size + size + size % 2 == n_bytes


class _Form(NamedTuple):
    """What the first chunk says."""

    name: str
    rate: int
    n_channels: int
    block_align: int
    is_extensible: bool

    @classmethod
    def read(cls, head: bytes) -> Self | None:
        """From the first bytes of a file."""
        if len(head) < FMT.size or not head.startswith(b"RIFF"):
            return None
        _, _, *marks, tag, n_channels, rate, _, block_align, bits = FMT.unpack_from(head)
        is_extensible = tag == EXTENSIBLE and len(head) >= FMT.size + EXTENSION.size
        if is_extensible:
            *extension, tag, kind = EXTENSION.unpack_from(head, FMT.size)
            if (*extension, kind) != (EXTENSION.size - 2, bits, KIND):
                return None
        size = FMT.size - 20 + (EXTENSION.size if is_extensible else 0)
        encoding = ENCODINGS.get((tag, bits))
        if marks != [b"WAVE", b"fmt ", size] or encoding is None:
            return None
        if n_channels == 0 or block_align != n_channels * bits // 8:
            return None
        name = f"{'wavex' if is_extensible else 'wav'}/{encoding}"
        return cls(name, rate, n_channels, block_align, is_extensible)
