"""MPEG audio frames: counted, because what a header or libsndfile says of them may be wrong.

Without a Xing header libsndfile guesses the length from the first frame and stops there,
so a file of variable bit rate comes out short; of files put one behind another it reads
the first. Here each frame is visited, and the decoder is given headers that are true.
"""

import functools
import struct
from dataclasses import dataclass

from specctl.audio import reasons
from specctl.audio.mpeg_frames import (
    HEADER_SIZE,
    MAX_FRAME,
    NO_CHECKSUM,
    SYNC,
    XING_MARKS,
    Frame,
    Kind,
    follow_frames,
    parse_frame,
)
from specctl.audio.source import Piece, SourceFile, Structure
from specctl.errors import AudioError

SEARCH = 2**16  # bytes of junk before the first frame, as libmpg123 allows
WINDOW = 2**20  # bytes
ID3V1_SIZE = 128  # bytes
ID3_SIZE = 10  # bytes of the header of an ID3v2 tag, and of its footer
HAS_FOOTER = 0x10  # flag of an ID3v2 tag
DECODER_DELAY = 529  # samples that libmpg123 leaves out at the start of what has a header
N_SILENT = 8
"""Silent frames put in front, to leave those samples out of. After eight the synthesis filter
is where it started, so all samples are those of the same file without any header."""
HAS_COUNT = 1  # flag of a Xing header


@dataclass
class _Link:
    """One stream of frames, from its Xing header, if it has one, to the next."""

    start: int
    first: bytes  # its first frame
    declared: int | None  # frames by its Xing header
    n_frames: int = 0
    stop: int = 0
    gap_at: int | None = None  # frames before the first gap


def inspect_mpeg(source: SourceFile, *, header_only: bool = False) -> Structure:
    """Count the frames of MPEG audio, layers 1 to 3.

    Returns
    -------
    Structure
        Pieces where libsndfile would not read all there is. ``is_cut`` if a frame is not
        there to its end, or fewer frames than declared.

    Raises
    ------
    AudioError
        Frames are missing in the middle, by the declared count.

    Notes
    -----
    In a file that declares no count, a cut right between two frames and frames that are
    missing in the middle cannot be seen.
    """
    tags_stop = skip_id3(source, 0)
    walk = _Walk(source, tags_stop)
    if not walk.find_first(tags_stop + SEARCH):
        return Structure()
    first = walk.links[0]
    is_estimate = first.declared is None
    pieces: tuple[Piece, ...] = ()
    if first.start > tags_stop or _has_odd_tag(source):
        pieces = (Piece(b"", first.start, source.size),)
    if not header_only:
        walk.follow()
        _check_gaps(walk.links)
        is_estimate = any(_is_estimate(link) for link in walk.links)
        if pieces or len(walk.links) > 1 or first.declared != first.n_frames:
            pieces = tuple(_corrected(link, walk.is_cut) for link in walk.links)
    n_left = sum(map(_n_samples, walk.links)) if walk.is_cut else None
    return Structure(pieces, n_left, is_cut=walk.is_cut, is_estimate=is_estimate)


def _check_gaps(links: list[_Link]) -> None:
    """Refuse a gap, unless no frame seems to be missing: then it was a tag."""
    for link in links:
        frame = parse_frame(link.first[:4])
        if link.gap_at is not None and frame is not None and link.n_frames < (link.declared or 0):
            _, _, sample_rate = frame.kind
            raise AudioError(reasons.has_hole(link.gap_at * frame.n_samples / sample_rate))


def _n_samples(link: _Link) -> int:
    frame = parse_frame(link.first[:4])
    return link.n_frames * frame.n_samples if frame is not None else 0


def _is_estimate(link: _Link) -> bool:
    """Whether not even `_corrected` can tell libsndfile the length."""
    frame = parse_frame(link.first[:4])
    return link.declared is None and (frame is None or not frame.xing_at)


def _corrected(link: _Link, is_cut: bool) -> Piece:
    """Give a stream a header that tells the true number of frames.

    One that is cut keeps its header: with a smaller number, the decoder would leave out the end
    of what there is for the encoder's padding.
    """
    frame = parse_frame(link.first[:4])
    keeps_header = is_cut and link.n_frames < (link.declared or 0)
    if link.declared == link.n_frames or keeps_header or frame is None or not frame.xing_at:
        return Piece(b"", link.start, link.stop)
    if link.declared is not None:
        at = frame.xing_at + 8
        prefix = link.first[:at] + struct.pack(">I", link.n_frames) + link.first[at + 4 :]
        return Piece(prefix, link.start + len(prefix), link.stop)
    header = bytes((SYNC, link.first[1] | NO_CHECKSUM, *link.first[2:4]))
    xing = b"Info" + struct.pack(">II", HAS_COUNT, link.n_frames + N_SILENT)
    prefix = _frame_of(header, bytes(frame.xing_at - HEADER_SIZE) + xing)
    prefix += _frame_of(header, b"") * N_SILENT
    skip = N_SILENT * frame.n_samples - DECODER_DELAY
    return Piece(prefix, link.start, link.stop, skip)


def _frame_of(header: bytes, content: bytes) -> bytes:
    """A frame with that content; of a higher bit rate than its header says, if need be."""
    frame = parse_frame(header)
    if frame is None:
        raise ValueError("no header of a frame")
    if frame.length < HEADER_SIZE + len(content):
        return _frame_of(bytes((*header[:2], header[2] + 0x10, header[3])), content)
    return (header + content).ljust(frame.length, b"\0")


def _has_odd_tag(source: SourceFile) -> bool:
    """Whether a tag in front has a footer or no content, with which libsndfile finds no frame."""
    offset = 0
    while (stop := _skip_one_id3(source, offset)) > offset:
        if stop - offset == ID3_SIZE or source.read_at(offset, ID3_SIZE)[5] & HAS_FOOTER:
            return True
        offset = stop
    return False


def skip_id3(source: SourceFile, offset: int) -> int:
    """Offset behind all ID3v2 tags at ``offset``."""
    while (stop := _skip_one_id3(source, offset)) > offset:
        offset = stop
    return offset


def _skip_one_id3(source: SourceFile, offset: int) -> int:
    tag = source.read_at(offset, ID3_SIZE)
    if not tag.startswith(b"ID3") or len(tag) < ID3_SIZE:
        return offset
    size = functools.reduce(lambda total, byte: total << 7 | byte & 0x7F, tag[6:], 0)
    return offset + size + ID3_SIZE * (2 if tag[5] & HAS_FOOTER else 1)


class _Walk:
    """The frames of a file in order; keeps a window of it in memory."""

    def __init__(self, source: SourceFile, start: int) -> None:
        self._source = source
        self._offset = start
        self._window = b""
        self._window_start = start
        self._stop = source.size
        if source.read_at(max(0, source.size - ID3V1_SIZE), 3) == b"TAG":
            self._stop -= ID3V1_SIZE
        self._kind: Kind | None = None
        self.links: list[_Link] = []
        self.is_cut = False

    def find_first(self, limit: int) -> bool:
        """Go to the first frame, if it begins before ``limit``, and see what it declares."""
        if not self._search(limit):
            return False
        frame = self._frame(self._offset)
        if frame is not None:
            self._kind = frame.kind
            self._begin_link(frame)
        return frame is not None

    def follow(self) -> None:
        """Visit all frames; what stands between them is skipped, as every player does."""
        while self._offset < self._stop:
            frame = self._frame(self._offset)
            if frame is None or frame.kind != self._kind:
                behind_tag = skip_id3(self._source, self._offset)
                if behind_tag > self._offset:
                    self._offset = behind_tag
                elif self._search(self._stop):
                    link = self.links[-1]
                    link.gap_at = link.n_frames if link.gap_at is None else link.gap_at
                else:
                    break
                continue
            if self._offset + frame.length > self._stop:
                self.is_cut = True
                break
            if self._xing(frame) is not None:
                if self._offset > self.links[-1].start:
                    self._begin_link(frame)
            else:
                self.links[-1].n_frames += 1
            self._offset += frame.length
            self.links[-1].stop = self._offset
            self._follow_in_window()
        # some encoders count the frame that holds the header
        self.is_cut |= any(link.n_frames + 1 < (link.declared or 0) for link in self.links)

    def _follow_in_window(self) -> None:
        """Visit the frames that the window holds whole, up to one that needs a closer look."""
        if self._kind is None:
            return
        start = self._offset - self._window_start
        stop = min(len(self._window), self._stop - self._window_start)
        n_frames, at = follow_frames(self._window, start, stop, self._kind)
        if n_frames:
            self._offset = self._window_start + at
            self.links[-1].n_frames += n_frames
            self.links[-1].stop = self._offset

    def _begin_link(self, frame: Frame) -> None:
        xing = self._xing(frame)
        declared = None
        if xing is not None and xing[7] & HAS_COUNT:
            declared = int.from_bytes(xing[8:12], "big")
        first = self._bytes(self._offset, frame.length)
        # a Xing header without a count is no help: drop it, the rest begins behind it
        start = self._offset + (len(first) if xing is not None and declared is None else 0)
        self.links.append(_Link(start, first, declared, stop=start))

    def _xing(self, frame: Frame) -> bytes | None:
        """Xing header of the frame that begins here, which then holds no sound."""
        at = self._offset - self._window_start + frame.xing_at
        if frame.xing_at and self._window[at : at + 4] in XING_MARKS:
            return self._window[at : at + 12]
        return None

    def _search(self, limit: int) -> bool:
        """Go to the next place before ``limit`` with two frames of a kind, or a Xing header."""
        while self._offset < min(limit, self._stop):
            window = self._bytes(self._offset, MAX_FRAME)
            if not window:
                return False  # the file was cut meanwhile
            found = window.find(SYNC)
            self._offset += found if found >= 0 else len(window)
            frame = self._frame(self._offset)
            if frame is not None and self._kind in (None, frame.kind):
                if self._xing(frame) is not None:
                    return self._offset < limit
                behind = self._frame(self._offset + frame.length)
                if behind is not None and behind.kind == frame.kind:
                    return self._offset < limit
                if self._offset + frame.length == self._stop:
                    return self._offset < limit
            self._offset += found >= 0
        return False

    def _frame(self, offset: int) -> Frame | None:
        return parse_frame(self._bytes(offset, 4))

    def _bytes(self, offset: int, n_bytes: int) -> bytes:
        """Bytes from ``offset`` on, fewer only at the end of the file."""
        at = offset - self._window_start
        reaches_end = self._window_start + len(self._window) >= self._source.size
        if not self._window or at < 0 or (at + MAX_FRAME > len(self._window) and not reaches_end):
            self._window = self._source.read_at(offset, WINDOW)
            self._window_start, at = offset, 0
        return self._window[at : at + n_bytes]
