"""Ogg pages: none missing, none damaged, none cut.

A player skips what is missing, and libsndfile stops at the end of the first of several
chained streams; neither says so. Where a file was cut between two pages, the last one lacks the
mark of the last page. So do files of programs that never write it or lose their last page, a
third of some collections: they may be cut, and are not refused for it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from isal import isal_zlib

from specctl.audio import reasons
from specctl.audio.machine_code import called
from specctl.audio.source import Piece, SourceFile, Structure
from specctl.errors import AudioError

CAPTURE = b"OggS"
HEADER = struct.Struct("<4sBBqIIIB")  # capture, version, flags, granule, serial, sequence, crc, n
BEGINS = 2  # flag of the first page of a stream
ENDS = 4  # flag of the last page of a stream
CHECKSUM_AT = 22  # bytes from the start of a page
MAX_PAGE = HEADER.size + 255 + 255 * 255  # bytes
FULL_SEGMENT = 255  # bytes; a shorter one ends its packet
WINDOW = 2**20  # bytes
NO_GRANULE = -1
PACKET_START = 48  # bytes, which tell the codec and its rate


class Page(NamedTuple):
    """One page: where it is in its file, what its header says."""

    start: int
    stop: int
    flags: int
    granule: int
    serial: int
    sequence: int
    packet: bytes  # how the first packet of a stream begins; empty in later pages


@dataclass
class _Stream:
    """What is known of one logical stream."""

    rate: int  # granules a second, 0 if the codec is unknown
    sequence: int
    granule: int = 0
    has_ended: bool = False

    @property
    def seconds(self) -> float:
        return self.granule / self.rate if self.rate else 0.0


def inspect_ogg(source: SourceFile) -> Structure:
    """Follow every page of an Ogg file.

    Returns
    -------
    Structure
        With one piece for each of several chained streams. ``is_cut`` if the last page is not
        there to its end, a ``doubt`` if it is not marked as the last.

    Raises
    ------
    AudioError
        A page is missing or damaged.
    """
    streams: dict[int, _Stream] = {}
    link_starts: list[int] = []
    in_headers = is_cut = False
    for page, is_sound in _pages(source):
        if page is None:
            is_cut = True
            break
        if not is_sound:
            raise AudioError(reasons.has_hole(_seconds(streams)))
        if page.flags & BEGINS:
            if not in_headers:
                streams = {}
                link_starts.append(page.start)
            streams[page.serial] = _Stream(_granule_rate(page.packet), page.sequence - 1)
        in_headers = bool(page.flags & BEGINS)
        _follow(streams, page)
    sounding = [stream for stream in streams.values() if stream.rate]
    return Structure(
        pieces=_pieces(link_starts, source.size),
        is_cut=is_cut,
        # some programs never write the mark
        doubt="" if all(stream.has_ended for stream in sounding) else reasons.NO_LAST_PAGE,
    )


def _pieces(link_starts: list[int], size: int) -> tuple[Piece, ...]:
    """One for each of several chained streams; none for a single one."""
    if len(link_starts) < 2:
        return ()
    stops = [*link_starts[1:], size]
    return tuple(Piece(b"", start, stop) for start, stop in zip(link_starts, stops, strict=True))


def _follow(streams: dict[int, _Stream], page: Page) -> None:
    stream = streams.get(page.serial)
    if stream is None or page.sequence != (stream.sequence + 1) % 2**32:
        raise AudioError(reasons.has_hole(_seconds(streams)))
    stream.sequence = page.sequence
    stream.has_ended = bool(page.flags & ENDS)
    if page.granule != NO_GRANULE:
        stream.granule = page.granule


def _seconds(streams: dict[int, _Stream]) -> float:
    return max((stream.seconds for stream in streams.values()), default=0.0)


def parse_page(window: bytes, at: int, offset: int) -> Page | None:
    """The page that begins in ``window`` at ``at``, which is byte ``offset`` of the file.

    None if its end is not in the window.
    """
    if len(window) < at + HEADER.size:
        return None
    _, _, flags, granule, serial, sequence, _, n_segments = HEADER.unpack_from(window, at)
    body_at = at + HEADER.size + n_segments
    stop_at = body_at + sum(window[at + HEADER.size : body_at])
    if len(window) < max(stop_at, body_at):
        return None
    packet = window[body_at : min(stop_at, body_at + PACKET_START)] if flags & BEGINS else b""
    return Page(offset, offset + stop_at - at, flags, granule, serial, sequence, packet)


def _pages(source: SourceFile) -> Iterator[tuple[Page | None, bool]]:
    """All pages in order, and whether the checksum fits; None for one that the file's end cuts."""
    offset, window_start, window, mirrored = 0, 0, b"", bytearray()
    while offset < source.size:
        at = offset - window_start
        if len(window) - at < MAX_PAGE and window_start + len(window) < source.size:
            window_start, window, at = offset, source.read_at(offset, WINDOW), 0
            if not window:
                yield None, False  # the file was cut meanwhile
                return
            mirrored = _mirrored(window)
        if not window.startswith(CAPTURE, at):
            # tags and padding between pages are skipped, as every reader does
            found = window.find(CAPTURE, at)
            offset = window_start + (found if found >= 0 else max(at + 1, len(window) - 3))
            if found < 0 and window_start + len(window) >= source.size:
                return
            continue
        page = parse_page(window, at, offset)
        if page is None:
            yield None, False
            return
        yield page, _is_sound(mirrored, at, page.stop - window_start)
        offset = page.stop


def _mirrored(window: bytes) -> bytearray:
    """The bits of each byte turned around."""
    mirrored = bytearray(window)
    called("mirror", "pn")(np.frombuffer(mirrored, np.uint8).ctypes.data, len(mirrored))
    return mirrored


def _is_sound(mirrored: bytearray, start: int, stop: int) -> bool:
    """Whether the checksum of a page fits; it counts as 0 in itself, and is 0 afterwards.

    Ogg's CRC-32 has zlib's polynomial, but takes the most significant bit first and does not
    invert: zlib finds it in bytes whose bits are ``mirrored``.
    """
    place = slice(start + CHECKSUM_AT, start + CHECKSUM_AT + 4)
    checksum, mirrored[place] = int.from_bytes(mirrored[place], "big"), bytes(4)
    found = isal_zlib.crc32(memoryview(mirrored)[start:stop], 0xFFFFFFFF)
    return bool(found ^ 0xFFFFFFFF == checksum)


def _granule_rate(first_packet: bytes) -> int:
    """Granules a second of an audio stream; 0 for anything else."""
    if first_packet.startswith(b"\x01vorbis"):
        return int.from_bytes(first_packet[12:16], "little")
    if first_packet.startswith(b"OpusHead"):
        return 48_000
    if first_packet.startswith(b"\x7fFLAC"):
        # 9 bytes of mapping, "fLaC", a block header of 4, then STREAMINFO; the rate is at 10
        return int.from_bytes(first_packet[27:30], "big") >> 4
    if first_packet.startswith(b"Speex   "):
        return int.from_bytes(first_packet[36:40], "little")
    return 0
