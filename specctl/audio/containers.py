"""Containers that declare their own sizes: declared against what is really there.

libsndfile reads a shortened file without a word: it corrects the declared size to what it
finds. Only headers are read here, a few bytes for each chunk.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from specctl.audio import reasons
from specctl.audio.source import Piece, SourceFile, Structure

Walk = Callable[[SourceFile], Structure]

MAX_CHUNKS = 10_000
MAX_STREAM_HEADER = 2**24  # bytes

UNKNOWN_SIZES = frozenset(
    {0, 0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFFFFF, 0x7FFFFFDB, 0x7FFFF000, 0x80000000}
)
"""What programs write into 32 bits when they cannot know the size yet (FFmpeg, SoX, ALSA …)."""

W64_MAGIC = b"riff\x2e\x91\xcf\x11"
ASF_MAGIC = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
MATROSKA_MAGIC = b"\x1a\x45\xdf\xa3"
MATROSKA_SEGMENT = b"\x18\x53\x80\x67"
MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})

MIN_SAMPLES_BEHIND = 2**16  # bytes; less is what some programs leave there
TAGS = (b"ID3", b"TAG", b"APETAGEX")

ONE_WIDTH_ENCODINGS = frozenset({1, 3, 6, 7})
"""WAVE format tags of fixed bytes a sample: PCM, float, A-law, mu-law."""
EXTENSIBLE = 0xFFFE


class _Layout(NamedTuple):
    """How the chunks of a container are written."""

    header: struct.Struct  # identifier, size
    size_has_header: bool = False
    alignment: int = 1


class _Chunk(NamedTuple):
    name: bytes
    size: int  # bytes of the body as declared
    body: int  # offset


RIFF = _Layout(struct.Struct("<4sI"), alignment=2)
RIFX = _Layout(struct.Struct(">4sI"), alignment=2)
W64 = _Layout(struct.Struct("<16sQ"), size_has_header=True, alignment=8)
ASF = _Layout(struct.Struct("<16sQ"), size_has_header=True)
CAF = _Layout(struct.Struct(">4sq"))


def walker(head: bytes) -> Walk | None:
    """Walk that fits the first 16 bytes of a file, if it is one of the containers here."""
    walks: dict[bytes, Walk] = {
        b"RIFF": _inspect_wave,
        b"RIFX": _inspect_wave,
        b"RF64": _inspect_wave,
        b"BW64": _inspect_wave,
        b"FORM": _inspect_aiff,
        b".snd": _inspect_au,
        b"dns.": _inspect_au,
        b"caff": _inspect_caf,
        b"NIST": _inspect_nist,
        MATROSKA_MAGIC: _inspect_matroska,
    }
    if head[4:8] in MP4_BOXES:
        return _inspect_mp4
    return {W64_MAGIC: _inspect_w64, ASF_MAGIC: _inspect_asf}.get(head[:8], walks.get(head[:4]))


def _chunks(source: SourceFile, offset: int, layout: _Layout) -> Iterator[_Chunk]:
    """Chunks one after another, until one begins at or behind the end of the file."""
    n_header = layout.header.size
    for _ in range(MAX_CHUNKS):
        header = source.read_at(offset, n_header)
        if len(header) < n_header:
            return
        name, size = layout.header.unpack(header)
        body = offset + n_header
        yield _Chunk(name, size - n_header * layout.size_has_header, body)
        step = max(size, n_header) if layout.size_has_header else n_header + max(size, 0)
        offset += step + -step % layout.alignment


def _reaches_beyond(source: SourceFile, chunk: _Chunk) -> bool:
    return chunk.body + chunk.size > source.size


def _streamed(source: SourceFile, body: int, size_at: int, size: bytes) -> Structure:
    """Let the decoder see a header with a size put in; the data reach to the end of the file."""
    if body > MAX_STREAM_HEADER:
        return Structure()
    header = source.read_at(0, body)
    prefix = header[:size_at] + size + header[size_at + len(size) :]
    return Structure(pieces=(Piece(prefix, body, source.size),))


def _inspect_wave(source: SourceFile) -> Structure:
    """RIFF, RIFX, RF64 and BW64; the last is RF64 under another name, which decoders know."""
    if source.read_at(0, 4) != b"BW64":
        return _inspect_riff(source)
    structure = _inspect_riff(source)
    name = b"RF64" if source.read_at(12, 4) == b"ds64" else b"RIFF"
    first = structure.pieces[0] if structure.pieces else Piece(b"BW64", 4, source.size)
    return replace(structure, pieces=(first._replace(prefix=name + first.prefix[4:]),))


def _inspect_riff(source: SourceFile) -> Structure:
    layout = RIFX if source.read_at(0, 4) == b"RIFX" else RIFF
    block_align, wide_at = 0, 0
    for chunk in _chunks(source, 12, layout):
        if chunk.name == b"fmt ":
            block_align = _fixed_block_align(source.read_at(chunk.body, 26), layout)
        elif chunk.name == b"ds64":
            wide_at = chunk.body + 8
        elif chunk.name == b"data" and wide_at and chunk.size == 0xFFFFFFFF:
            wide_size = int.from_bytes(source.read_at(wide_at, 8), "little")
            data = chunk._replace(size=wide_size)
            return _inspect_wave_data(source, data, block_align, wide_at, "<Q")
        elif chunk.name == b"data":
            size_format = layout.header.format[:1] + "I"
            return _inspect_wave_data(source, chunk, block_align, chunk.body - 4, size_format)
    return Structure()


def _inspect_wave_data(
    source: SourceFile, data: _Chunk, block_align: int, size_at: int, size_format: str
) -> Structure:
    available = source.size - data.body
    if available <= 0:
        return Structure(is_cut=data.size not in UNKNOWN_SIZES)
    if data.size in UNKNOWN_SIZES and available >= 2**32 and size_format == "<I":
        return _as_rf64(source, data.body, available, block_align)
    if data.size == 0:
        (riff_size,) = struct.unpack(size_format[:1] + "I", source.read_at(4, 4))
        # finished files without samples may have chunks behind; then the sizes fit
        if riff_size + 8 in (source.size, source.size - 1):
            return Structure()
        largest = 256 ** struct.calcsize(size_format) - 1
        return _streamed(
            source, data.body, size_at, struct.pack(size_format, min(available, largest))
        )
    if data.size > available:
        return Structure(is_cut=data.size not in UNKNOWN_SIZES)
    n_beyond = available - data.size
    if n_beyond >= 2**32 and size_format == "<I":
        # a recorder that went on where its 32 bits were full
        return _as_rf64(source, data.body, data.size + n_beyond // 2**32 * 2**32, block_align)
    return Structure(
        n_samples=data.size // block_align if block_align else None,
        doubt=reasons.MORE_BEHIND if _is_more_behind(source, data) else "",
    )


def _is_more_behind(source: SourceFile, data: _Chunk) -> bool:
    """Whether the bytes behind the samples are many, and neither chunks, tags nor zeros."""
    start = data.body + data.size + data.size % 2
    if source.size - start < MIN_SAMPLES_BEHIND:
        return False
    head = source.read_at(start, MIN_SAMPLES_BEHIND)
    is_chunk = head[:4].isascii() and head[:4].decode().isprintable()
    return any(head) and not (is_chunk or head.startswith(TAGS))


def _as_rf64(source: SourceFile, body: int, n_bytes: int, block_align: int) -> Structure:
    """Let the decoder see a RIFF header with the size of the samples in 64 bits."""
    if body > MAX_STREAM_HEADER or not block_align:
        return Structure()
    n_samples = n_bytes // block_align
    size = struct.pack("<4sI3QI", b"ds64", 28, source.size + 28, n_bytes, n_samples, 0)
    full = b"\xff" * 4
    header = b"RF64" + full + b"WAVE" + size + source.read_at(12, body - 16) + full
    return Structure(pieces=(Piece(header, body, body + n_bytes),), n_samples=n_samples)


def _fixed_block_align(body: bytes, layout: _Layout) -> int:
    """Bytes of one sample of all channels; 0 where an encoding has no such number."""
    if len(body) < 16:
        return 0
    order = layout.header.format[:1]
    tag, _, _, _, block_align, _ = struct.unpack_from(f"{order}HHIIHH", body)
    if tag == EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from(f"{order}H", body, 24)
    return int(block_align) if tag in ONE_WIDTH_ENCODINGS else 0


def _inspect_w64(source: SourceFile) -> Structure:
    for chunk in _chunks(source, 40, W64):
        if chunk.name.startswith(b"data"):
            is_unknown = chunk.size + W64.header.size in (0, 2**64 - 1)
            return Structure(is_cut=_reaches_beyond(source, chunk) and not is_unknown)
    return Structure()


def _inspect_aiff(source: SourceFile) -> Structure:
    for chunk in _chunks(source, 12, RIFX):
        if chunk.name == b"SSND":
            is_unknown = chunk.size in UNKNOWN_SIZES
            return Structure(is_cut=_reaches_beyond(source, chunk) and not is_unknown)
    return Structure()


def _inspect_au(source: SourceFile) -> Structure:
    header = source.read_at(0, 24)
    if len(header) < 24:
        return Structure(is_cut=True)
    order = ">" if header.startswith(b".snd") else "<"
    start, size = struct.unpack_from(f"{order}II", header, 4)
    if size == 0 and start < source.size:
        return _streamed(source, start, 8, b"\xff" * 4)
    if size in UNKNOWN_SIZES:
        return Structure()
    return Structure(is_cut=start + size > source.size)


def _inspect_caf(source: SourceFile) -> Structure:
    for chunk in _chunks(source, 8, CAF):
        if chunk.name == b"data":
            is_cut = _reaches_beyond(source, chunk)
            if (is_cut or chunk.size == -1) and chunk.body < source.size:
                # libsndfile does not open what is larger than it can be
                size = struct.pack(">q", source.size - chunk.body)
                streamed = _streamed(source, chunk.body, chunk.body - 8, size)
                return replace(streamed, is_cut=is_cut)
            return Structure(is_cut=is_cut)
    return Structure()


def _inspect_nist(source: SourceFile) -> Structure:
    """NIST SPHERE: sizes as text in the first 1,024 bytes."""
    header = source.read_at(0, 1024)

    def number(name: bytes) -> int:
        found = re.search(rb"^" + name + rb" -i (\d{1,18})\s*$", header, re.MULTILINE)
        return int(found[1]) if found else 0

    if b"shorten" in header:
        return Structure()
    n_bytes = number(b"sample_count") * number(b"channel_count") * number(b"sample_n_bytes")
    return Structure(is_cut=len(header) + n_bytes > source.size)


def _inspect_mp4(source: SourceFile) -> Structure:
    """MP4 and QuickTime: boxes of the outermost level, each with its size."""
    offset = 0
    for _ in range(MAX_CHUNKS):
        header = source.read_at(offset, 16)
        if len(header) < 8 or not header[4:8].isascii():
            break
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size < 8:
            break  # 0 stands for "to the end of the file"
        offset += size
        if offset > source.size:
            return Structure(is_cut=True)
    return Structure()


def _inspect_asf(source: SourceFile) -> Structure:
    """WMA and its kin: objects of the outermost level, each with its size."""
    return Structure(
        is_cut=any(_reaches_beyond(source, chunk) for chunk in _chunks(source, 0, ASF))
    )


def _inspect_matroska(source: SourceFile) -> Structure:
    """Matroska and WebM: one header, then one segment that holds the rest."""
    start = 4
    head = source.read_at(0, 2**16)
    size, n_bytes = _ebml_number(head, start)
    start += n_bytes + size
    if n_bytes == 0 or head[start : start + 4] != MATROSKA_SEGMENT:
        return Structure()
    size, n_bytes = _ebml_number(head, start + 4)
    is_unknown = n_bytes == 0 or size == 2 ** (7 * n_bytes) - 1
    return Structure(is_cut=not is_unknown and start + 4 + n_bytes + size > source.size)


def _ebml_number(data: bytes, at: int) -> tuple[int, int]:
    """Number and the bytes it takes: as many as the first byte has leading zeros, plus one."""
    if at >= len(data) or data[at] == 0:
        return 0, 0
    n_bytes = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + n_bytes], "big")
    return value & ((1 << (7 * n_bytes)) - 1), n_bytes
