"""Bad audio of many kinds, and legal oddities that only look bad; each made from good files."""

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import soundfile

from tests.convert.audio_files import RATE, noise, write

CUT = "unexpected end of data"
HOLE = "damaged or missing data"
NOT_AUDIO = "not an audio format"

CUT_FORMATS: dict[str, dict[str, str]] = {
    "wav": {},
    "aiff": {},
    "flac": {},
    "mp3": {},
    "ogg": {},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}
"""Format to how a file of it is written."""

SECONDS = 2.0
N_SAMPLES = round(SECONDS * RATE)


def wav(
    n_bytes: int = 2 * N_SAMPLES,
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = RATE,
    bits: int = 16,
    align: int | None = None,
    claimed: int | None = None,
    riff: int | None = None,
    data: bytes | None = None,
) -> bytes:
    """A wav file whose header says anything."""
    data = noise_bytes(n_bytes) if data is None else data
    align = max(1, channels * bits // 8) if align is None else align
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * align % 2**32, align % 2**16, bits)
    body = b"fmt " + struct.pack("<I", len(fmt)) + fmt
    body += b"data" + struct.pack("<I", len(data) if claimed is None else claimed) + data
    return b"RIFF" + struct.pack("<I", len(body) + 4 if riff is None else riff) + b"WAVE" + body


def noise_bytes(n_bytes: int) -> bytes:
    """16-bit samples of noise with a tone."""
    samples = (noise(-(-n_bytes // 2))[:, 0] * 32767).astype("<i2")
    return samples.tobytes()[:n_bytes]


def encoded(scratch: Path, ending: str, **kwargs: object) -> bytes:
    """A good file of a format."""
    return write(scratch / f"whole.{ending}", noise(N_SAMPLES), **kwargs).read_bytes()


def ogg_pages(data: bytes) -> list[bytes]:
    """The pages of an Ogg file."""
    starts = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def ogg_crc(page: bytes) -> bytes:
    """A page with the checksum that fits it."""
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value >> 31 else value << 1) & 0xFFFFFFFF
        table.append(value)
    blank, crc = page[:22] + bytes(4) + page[26:], 0
    for byte in blank:
        crc = (crc << 8 & 0xFFFFFFFF) ^ table[crc >> 24 ^ byte]
    return page[:22] + struct.pack("<I", crc) + page[26:]


def with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    """Some bytes put in the place of others."""
    return data[:at] + new + data[at + len(new) :]


def chunked(name: bytes, *chunks: tuple[bytes, bytes], kind: bytes = b"AIFF") -> bytes:
    """An IFF file of big-endian chunks."""
    body = b"".join(
        each + struct.pack(">I", len(data)) + data + bytes(len(data) % 2) for each, data in chunks
    )
    return name + struct.pack(">I", len(body) + 4) + kind + body


AIFF_COMM = struct.pack(">hIh", 1, N_SAMPLES, 16) + b"\x40\x0c\xfa\x00" + bytes(6)


def headers_that_lie(scratch: Path) -> dict[str, tuple[bytes, str]]:
    """Content and reason by name."""
    flac, aiff = encoded(scratch, "flac"), encoded(scratch, "aiff")
    au, caf, w64 = (encoded(scratch, ending) for ending in ("au", "caf", "w64"))
    return {
        "44 bytes of 4 GB.wav": (wav(0, claimed=0xF0000000), "unexpected end of data at 0.000 s"),
        "claims 1 byte more.wav": (
            wav(claimed=2 * N_SAMPLES + 1),
            "unexpected end of data at 2.000 s",
        ),
        "no fmt.wav": (
            b"RIFF\x64\0\0\0WAVEdata" + struct.pack("<I", 88) + bytes(88),
            "the decoder says: error in WAV",
        ),
        "no data.wav": (wav()[:36], "No 'data' chunk"),
        "short fmt.wav": (
            b"RIFF\x64\0\0\0WAVEfmt \x04\0\0\0\1\0\1\0data\4\0\0\0abcd",
            "Short 'fmt ' chunk",
        ),
        "no channels.wav": (wav(channels=0), "channel count is zero"),
        "2000 channels.wav": (wav(channels=2000), "too many channels"),
        "65535 channels.wav": (wav(channels=65535), "too many channels"),
        "rate 0.wav": (wav(rate=0), "sample rate 0 Hz is outside"),
        "rate 1.wav": (wav(rate=1), "sample rate 1 Hz is outside"),
        "rate 2^31.wav": (wav(rate=2**31 - 1), "sample rate 2147483647 Hz"),
        "rate 2^32.wav": (wav(rate=2**32 - 1), "sample rate 4294967295 Hz"),
        "0 bits.wav": (wav(bits=0), "unimplemented format"),
        "7 bits.wav": (wav(bits=7, align=2), "contradicts itself"),
        "64 bits.wav": (wav(bits=64), "unimplemented format"),
        "200 bits.wav": (wav(bits=200), "unimplemented format"),
        "unknown code.wav": (wav(tag=0x9999), "Malformed 'fmt ' chunk"),
        "code 0.wav": (wav(tag=0), "Malformed 'fmt ' chunk"),
        "half a sample.wav": (wav(1), "no samples"),
        "rf64 without ds64.wav": (b"RF64" + wav(claimed=0xFFFFFFFF)[4:], "the decoder says"),
        "rate 0.flac": (
            with_bytes(flac, 18, b"\0\0" + bytes([flac[20] & 15])),
            "no valid sample rate",
        ),
        "no streaminfo.flac": (with_bytes(flac, 4, b"\x81"), "unimplemented format"),
        "huge comment.flac": (
            flac[:42] + b"\x84\xff\xff\xff" + flac[46:],
            "error in flac decoder",
        ),
        "frames of zeros.flac": (flac[: len(flac) // 2] + bytes(len(flac) // 2), "lost sync"),
        "another's middle.flac": (flac[:20_000] + flac[30_000:], "lost sync"),
        "no comm.aiff": (
            chunked(b"FORM", (b"SSND", bytes(8) + noise_bytes(8000))),
            "channel count is zero",
        ),
        "no ssnd.aiff": (chunked(b"FORM", (b"COMM", AIFF_COMM)), "the decoder says"),
        "no channels.aiff": (
            with_bytes(aiff, aiff.index(b"COMM") + 8, b"\0\0"),
            "bad channel count",
        ),
        "cut.au": (au[: len(au) // 2], "unexpected end of data at 1.000 s"),
        "header only.au": (au[:24], CUT),
        "header beyond.au": (with_bytes(au, 4, b"\x7f\xff\xff\xff"), CUT),
        "cut.caf": (caf[: len(caf) // 2], CUT),
        "no desc.caf": (with_bytes(caf, 8, b"xxxx"), NOT_AUDIO),
        "cut.w64": (w64[: len(w64) // 2], "unexpected end of data at 0.998 s"),
        "chunk beyond.w64": (with_bytes(w64, 56, b"\xff" * 7), "Short 'fmt ' chunk"),
    }


def ogg_and_mpeg(scratch: Path) -> dict[str, tuple[bytes, str]]:
    """Content and reason by name."""
    ogg = encoded(scratch, "ogg")
    opus = encoded(scratch, "opus", format="OGG", subtype="OPUS")
    mp3 = encoded(scratch, "mp3")
    pages = ogg_pages(ogg)
    middle = len(pages) // 2
    other_serial = ogg_crc(with_bytes(pages[middle], 14, b"abcd"))
    return {
        "first page.ogg": (pages[0], "end of file"),
        "headers only.ogg": (b"".join(pages[:2]), "no samples"),
        "page missing.ogg": (b"".join(pages[:middle] + pages[middle + 1 :]), HOLE),
        "page twice.ogg": (b"".join(pages[: middle + 1] + pages[middle:]), HOLE),
        "wrong checksum.ogg": (with_bytes(ogg, len(ogg) // 2, b"\0\1\2\3"), HOLE),
        "another stream's page.ogg": (
            b"".join([*pages[:middle], other_serial, *pages[middle + 1 :]]),
            HOLE,
        ),
        "in a page.ogg": (ogg[: -len(pages[-1]) // 2], CUT),
        "unknown codec.ogg": (
            ogg_crc(with_bytes(pages[0], 28, b"\x80theora")),
            "the decoder says",
        ),
        "cut.opus": (opus[: len(opus) // 2], CUT),
        "hole.opus": (opus[:5000] + bytes(2000) + opus[7000:], HOLE),
        "a page.opus": (ogg_pages(opus)[0], "end of file"),
        "page.mp3": (b"<html><body>404 not found</body></html>" * 200, NOT_AUDIO),
        "zeros.mp3": (bytes(20_000), NOT_AUDIO),
        "ones.mp3": (b"\xff" * 20_000, NOT_AUDIO),
        "64 bytes.mp3": (mp3[:64], CUT),
        "id3 only.mp3": (b"ID3\x04\0\0\0\0\x07\x76" + bytes(1014), NOT_AUDIO),
        "id3 beyond.mp3": (b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + mp3, NOT_AUDIO),
        "cut.mp3": (mp3[: len(mp3) // 2], "unexpected end of data at 0.972 s"),
        "one byte less.mp3": (mp3[:-1], CUT),
    }


def no_audio(scratch: Path) -> dict[str, tuple[bytes, str]]:
    """Content and reason by name."""
    good = wav()
    return {
        "one byte.wav": (b"R", NOT_AUDIO),
        "zeros.wav": (bytes(10_000), NOT_AUDIO),
        "picture.wav": (b"\x89PNG\r\n\x1a\n" + zlib.compress(bytes(10_000)), NOT_AUDIO),
        "zip.flac": (b"PK\3\4" + noise_bytes(10_000), NOT_AUDIO),
        "gzip.wav": (gzip.compress(good), NOT_AUDIO),
        "pdf.aiff": (b"%PDF-1.7\n" + bytes(range(256)) * 20, NOT_AUDIO),
        "program.mp3": (b"\x7fELF\2\1\1" + bytes(2000), NOT_AUDIO),
        "store.wav": (b"\x89HDF\r\n\x1a\n" + bytes(3000), NOT_AUDIO),
        "utf-16.wav": (("not audio at all " * 200).encode("utf-16"), NOT_AUDIO),
        "pointer.wav": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", NOT_AUDIO),
        "text.ogg": (b"OggS" + b"text" * 500, CUT),
        "text.flac": (b"fLaC" + b"text" * 500, "error in flac decoder"),
        "text.m4a": (b"\0\0\0\x20ftypM4A text" * 50, "invalid data"),
        "text.wma": (b"text" * 500, "invalid data"),
    }


def bad_values(scratch: Path) -> dict[str, tuple[bytes, str]]:
    """Content and reason by name."""

    def of(value: float, at: slice, subtype: str = "FLOAT") -> bytes:
        samples = noise(N_SAMPLES).astype("f8")
        samples[at] = value
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, subtype, format="WAV")
        return file.getvalue()

    everything, first, last = slice(None), slice(0, 1), slice(-1, None)
    return {
        "all nan.wav": (of(np.nan, everything), "NaN or infinite"),
        "nan at first.wav": (of(np.nan, first), "NaN or infinite"),
        "inf at last.wav": (of(np.inf, last), "NaN or infinite"),
        "1e300.wav": (of(1e300, first, "DOUBLE"), "NaN or infinite"),
        "1e30.wav": (of(1e30, last), "samples as large as 1.0e+30"),
    }


def bad_kinds(folder: Path, scratch: Path) -> dict[str, str]:
    """Write a file of each kind; name to a part of the reason."""
    folder.mkdir(parents=True, exist_ok=True)
    reasons = {}
    for kinds in (headers_that_lie, ogg_and_mpeg, no_audio, bad_values):
        for name, (content, reason) in kinds(scratch).items():
            (folder / name).write_bytes(content)
            reasons[name] = reason
    return reasons
