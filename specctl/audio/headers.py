"""What the headers of the commonest files say, read without a decoder.

Opening a file makes a decoder of it: libsndfile sets up all tables of a Vorbis stream, which takes
as long as decoding a second of it. To plan a conversion a few bytes are enough. Whatever is out of
the ordinary here is left to the decoder.
"""

import struct

from specctl.audio import ogg
from specctl.audio.info import AudioInfo
from specctl.audio.mpeg import DECODER_DELAY, skip_id3
from specctl.audio.mpeg_frames import (
    HEADER_SIZE,
    MAX_FRAME,
    MONO,
    XING_MARKS,
    is_frame,
    parse_frame,
)
from specctl.audio.source import SourceFile
from specctl.audio.wave import read_wave_header

HEAD = 128  # bytes
FLAC_ENCODINGS = {8: "pcm_s8", 16: "pcm_16", 24: "pcm_24"}
STREAMINFO = b"\0\0\0\x22"  # type and size of the block, perhaps marked as the last
LAYER_3 = 3
XING_FLAGS = 0xF  # all of: frames, bytes, table of contents, quality
XING = struct.Struct(">4s2I108xB20x3s")  # mark, flags, frames, start of the encoder's name, gaps
VORBIS = struct.Struct("<7sIBI12xB")  # type and name, version, channels, rate, block sizes


def header_info(source: SourceFile) -> AudioInfo | None:
    """Read the header of a WAV, FLAC, Ogg Vorbis or MP3 file of the usual kind.

    Returns
    -------
    AudioInfo or None
        What the decoder would say; None where only the decoder can tell. Of a Vorbis stream that
        was cut out of a longer one, ``n_samples`` may be up to a page too large.
    """
    head = source.read_at(0, HEAD)
    if head.startswith(b"RIFF"):
        wave = read_wave_header(source)
        return None if wave is None else wave.info
    if head.startswith(b"fLaC"):
        return _flac(head)
    if head.startswith(ogg.CAPTURE):
        return _vorbis(source, head)
    if head.startswith(b"ID3") or is_frame(head):
        return _mp3(source)
    return None


def _flac(head: bytes) -> AudioInfo | None:
    if len(head) < 26 or bytes((head[4] & 0x7F, *head[5:8])) != STREAMINFO:
        return None
    # from byte 18: 20 bits of rate, 3 of channels - 1, 5 of bits - 1, 36 of samples
    packed = int.from_bytes(head[18:26], "big")
    rate, n_samples = packed >> 44, packed & (2**36 - 1)
    n_channels, bits = (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    encoding = FLAC_ENCODINGS.get(bits)
    if encoding is None or n_samples == 0:
        return None
    return AudioInfo(rate, n_channels, n_samples, f"flac/{encoding}", "soundfile")


def _vorbis(source: SourceFile, head: bytes) -> AudioInfo | None:
    first = ogg.parse_page(head, 0, 0)
    if first is None or len(first.packet) < VORBIS.size:
        return None
    name, version, n_channels, rate, block_sizes = VORBIS.unpack_from(first.packet)
    sounding, n_packets = _first_sounding_page(source.read_at(first.stop, ogg.MAX_PAGE))
    last = _last_page(source)
    if (name, version) != (b"\x01vorbis", 0) or sounding is None or last is None:
        return None
    # one stream from start to end: neither several at once nor one after another
    if not first.serial == sounding.serial == last.serial or last.granule <= 0:
        return None
    # a packet gives half a long block at most: more means that the count does not begin at 0
    if sounding.granule > n_packets * (1 << (block_sizes >> 4)) // 2:
        return None
    return AudioInfo(rate, n_channels, last.granule, "ogg/vorbis", "soundfile")


def _mp3(source: SourceFile) -> AudioInfo | None:
    """From the header that LAME writes; libmpg123 leaves out the gaps that it names."""
    window = source.read_at(skip_id3(source, 0), MAX_FRAME)
    frame = parse_frame(window[:HEADER_SIZE])
    if frame is None or frame.kind[1] != LAYER_3 or frame.length < frame.xing_at + XING.size:
        return None
    following = parse_frame(window[frame.length : frame.length + HEADER_SIZE])
    if following is None or following.kind != frame.kind:
        return None
    mark, flags, n_frames, encoder, gaps = XING.unpack_from(window, frame.xing_at)
    has_sound = any(window[HEADER_SIZE : frame.xing_at])
    if mark not in XING_MARKS or flags != XING_FLAGS or encoder == 0 or has_sound:
        return None
    before, behind = divmod(int.from_bytes(gaps, "big"), 2**12)
    n_all = n_frames * frame.n_samples
    n_samples = min(n_all, n_all - behind + DECODER_DELAY) - before - DECODER_DELAY
    if n_samples <= 0:
        return None
    n_channels = 1 if window[3] >> 6 == MONO else 2
    return AudioInfo(frame.kind[2], n_channels, n_samples, "mp3/mpeg_layer_iii", "soundfile")


def _first_sounding_page(window: bytes) -> tuple[ogg.Page | None, int]:
    """The first page that counts samples, and how many packets end in it."""
    at = 0
    while (page := ogg.parse_page(window, at, at)) is not None and not page.flags & ogg.BEGINS:
        if page.granule > 0:
            n_segments = window[at + ogg.HEADER.size - 1]
            segments = window[at + ogg.HEADER.size :][:n_segments]
            return page, sum(segment < ogg.FULL_SEGMENT for segment in segments)
        at = page.stop
    return None, 0


def _last_page(source: SourceFile) -> ogg.Page | None:
    """The page that ends with the file."""
    start = max(0, source.size - ogg.MAX_PAGE)
    tail = source.read_at(start, ogg.MAX_PAGE)
    at = tail.rfind(ogg.CAPTURE)
    while at >= 0:
        page = ogg.parse_page(tail, at, start + at)
        if page is not None and page.stop == source.size:
            return page
        at = tail.rfind(ogg.CAPTURE, 0, at)
    return None
