"""Good audio of all formats, rates and widths, and legal files that look odd."""

import itertools
import struct
from pathlib import Path

import numpy as np
import soundfile

from tests.convert.audio_files import RATE, noise, write
from tests.convert.bad_audio import N_SAMPLES, chunked, encoded, noise_bytes, wav, with_bytes

_RATES = (8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)
_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
_MPEG_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_SUBTYPE = bytes.fromhex("000000001000800000aa00389b71")
"""What follows the code of an encoding in the header of an extensible wav file."""

_PCM = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
_FORMATS: dict[str, tuple[str, tuple[str, ...], tuple[int, ...]]] = {
    "wav": ("WAV", ("PCM_U8", *_PCM, "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"), _RATES),
    "wave": ("WAVEX", ("PCM_U8", *_PCM), _RATES),
    "flac": ("FLAC", ("PCM_S8", "PCM_16", "PCM_24"), _RATES),
    "aiff": ("AIFF", ("PCM_S8", *_PCM, "ULAW"), _RATES),
    "au": ("AU", ("PCM_S8", *_PCM, "ALAW"), _RATES),
    "caf": ("CAF", (*_PCM, "ALAC_16", "ALAC_24"), _RATES),
    "w64": ("W64", ("PCM_U8", *_PCM), _RATES),
    "rf64": ("RF64", ("PCM_U8", *_PCM), _RATES),
    "ogg": ("OGG", ("VORBIS",), _RATES),
    "opus": ("OGG", ("OPUS",), _OPUS_RATES),
    "mp3": ("MP3", ("MPEG_LAYER_III",), _MPEG_RATES),
}


def good_kinds() -> list[tuple[str, str, str, int, int]]:
    """Extension, format, encoding, rate and channels of every combination."""
    kinds = []
    for ending, (name, subtypes, rates) in _FORMATS.items():
        for subtype, rate, n_channels in itertools.product(subtypes, rates, (1, 2)):
            if soundfile.check_format(name, subtype):
                kinds.append((ending, name, subtype, rate, n_channels))
    return kinds


def write_good(folder: Path, n_files: int) -> int:
    """Short clips, each of the next kind and of another odd length; returns how many kinds."""
    kinds = good_kinds()
    for number in range(n_files):
        ending, name, subtype, rate, n_channels = kinds[number % len(kinds)]
        samples = noise(rate // 20 + 7 * number, n_channels, seed=number)
        path = folder / f"{number:04d} {subtype} {rate} {n_channels}.{ending}"
        write(path, samples, rate, format=name, subtype=subtype)
    return len(kinds)


def odd_but_legal(scratch: Path) -> dict[str, tuple[bytes, bytes]]:
    """Name to an odd file and to a plain one of the same samples."""
    good = wav()
    fmt = good[20:36]
    extensible = struct.pack("<HHIH", 22, 16, 4, 1) + _SUBTYPE
    data = noise_bytes(2 * N_SAMPLES)
    flac, ogg, mp3, aiff = (encoded(scratch, each) for each in ("flac", "ogg", "mp3", "aiff"))
    unknown_length = with_bytes(flac, 21, bytes([flac[21] & 0xF0]) + bytes(4))
    id3 = b"ID3\x04\0\0\0\0\x01\0" + bytes(128)
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0) + bytes(8)
    return {
        "size 0.wav": (wav(claimed=0, riff=0), good),
        "size ffffffff.wav": (wav(claimed=0xFFFFFFFF, riff=0xFFFFFFFF), good),
        "size 7fffffff.wav": (wav(claimed=0x7FFFFFFF, riff=0x7FFFFFFF), good),
        "riff size 0.wav": (wav(riff=0), good),
        "tail.wav": (good + b"TAG" + bytes(125), good),
        "list.wav": (good + b"LIST\x04\0\0\0INFO", good),
        "junk first.wav": (good[:12] + b"JUNK\x05\0\0\0junk!\0" + good[12:], good),
        "extensible.wav": (
            good[:16]
            + struct.pack("<I", 40)
            + struct.pack("<H", 0xFFFE)
            + fmt[2:]
            + extensible
            + good[36:],
            good,
        ),
        "odd bytes.wav": (wav(data=data + b"\0"), good),
        "loud name.WAV": (good, good),
        "flac by content.wav": (flac, flac),
        "ogg by content.flac": (ogg, ogg),
        "length unknown.flac": (unknown_length, flac),
        "id3 first.flac": (id3 + flac, flac),
        "id3 first.mp3": (id3 + mp3, mp3),
        "id3v1 last.mp3": (mp3 + b"TAG" + bytes(125), mp3),
        "ape last.mp3": (mp3 + ape, mp3),
        "ape and id3v1 last.mp3": (mp3 + ape + b"TAG" + bytes(125), mp3),
        "tags last.ogg": (ogg + b"TAG" + bytes(125), ogg),
        "name chunk.aiff": (
            chunked(b"FORM", *_chunks(aiff), (b"NAME", b"x"), kind=aiff[8:12]),
            aiff,
        ),
    }


def _chunks(aiff: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of each chunk of an AIFF file."""
    found, at = [], 12
    while at + 8 <= len(aiff):
        (size,) = struct.unpack(">I", aiff[at + 4 : at + 8])
        found.append((aiff[at : at + 4], aiff[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found


def chained_ogg(scratch: Path) -> tuple[bytes, np.ndarray]:
    """Two Ogg files in one, and the samples of both."""
    parts, samples = [], []
    for seed in (1, 2):
        path = write(scratch / f"{seed}.ogg", noise(N_SAMPLES, seed=seed), RATE)
        parts.append(path.read_bytes())
        samples.append(soundfile.read(path, dtype="float32")[0])
    return b"".join(parts), np.concatenate(samples)
