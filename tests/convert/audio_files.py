"""Audio made for a test: good files, and files that are bad each in their own way."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
GOOD = ("a.wav", "b.flac", "c.ogg", "d.mp3", "e.aiff")


def noise(n_samples: int, n_channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise with a tone in it, well within full scale, (samples, channels) float32."""
    random = np.random.default_rng(seed)
    tone = np.sin(np.arange(n_samples) * (0.05 + seed % 17 / 50))[:, None]
    return (0.05 * random.standard_normal((n_samples, n_channels)) + 0.3 * tone).astype("f4")


def write(path: Path, samples: np.ndarray, rate: int = RATE, **kwargs: object) -> Path:
    """Write a file second by second: one long Ogg write crashes libsndfile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(os.fsencode(path), "w", rate, samples.shape[1], **kwargs) as file:
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])
    return path


def write_noise(path: Path, seconds: float = 1.0, *, rate: int = RATE, seed: int = 0) -> Path:
    """A mono file of noise."""
    return write(path, noise(round(seconds * rate), seed=seed), rate)


def corpus(folder: Path, n_files: int, seconds: float = 1.0) -> Path:
    """A folder of wav and flac files, all different, in three subfolders."""
    for number in range(n_files):
        name = f"{'xyz'[number % 3]}/{number:03d}.{('wav', 'flac')[number % 2]}"
        write_noise(folder / name, seconds + number / 100, seed=number)
    return folder


def good_files(folder: Path) -> Path:
    """A second of each of a few formats."""
    for seed, name in enumerate(GOOD):
        write_noise(folder / name, seed=seed)
    return folder


def bad_files(folder: Path, scratch: Path) -> dict[str, str]:
    """File name to a part of the reason why it cannot be converted."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        ending: write_noise(scratch / f"whole.{ending}", 4).read_bytes()
        for ending in ("wav", "flac", "ogg", "mp3", "aiff")
    }
    random = np.random.default_rng(1).bytes(50_000)
    wav, flac = bytearray(whole["wav"]), bytearray(whole["flac"])
    contents = {
        "empty.wav": (b"", "empty file"),
        "text.wav": (b"this is no audio\n" * 100, "not an audio format"),
        "random.wav": (random, "not an audio format"),
        "random.flac": (random, "not an audio format"),
        "random.mp3": (random, "not an audio format"),
        "garbage.m4a": (random, ""),
        "header.wav": (whole["wav"][:44], "unexpected end of data"),
        **{
            f"cut.{ending}": (data[: len(data) * 2 // 3], "")
            for ending, data in whole.items()
            if ending != "mp3"
        },
        "cut.mp3": (whole["mp3"][: len(whole["mp3"]) * 2 // 3 + 7], ""),
        "claims 4 GB.wav": (wav[:40] + struct.pack("<I", 0xF0000000) + wav[44:], "unexpected end"),
        # the last 36 bits before the checksum of STREAMINFO are the number of samples
        "claims 2^36.flac": (flac[:21] + bytes([flac[21] | 15]) + b"\xff" * 4 + flac[26:], ""),
        "rate.wav": (wav[:24] + struct.pack("<I", 100_000_000) + wav[28:], "sample rate"),
        "hole.flac": (flac[:30_000] + bytes(2_000) + flac[32_000:], ""),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    reasons = {name: reason for name, (_, reason) in contents.items()}
    for name, value in {"nan.wav": np.nan, "inf.wav": -np.inf, "loud.wav": 1e20}.items():
        samples = noise(RATE)
        samples[RATE // 2] = value
        write(folder / name, samples, subtype="FLOAT")
        reasons[name] = "samples as large as 1.0e+20" if value == 1e20 else "NaN or infinite"
    write(folder / "none.wav", noise(0))
    return {**reasons, "none.wav": "no samples"}


def skipped_names(folder: Path) -> dict[str, str]:
    """What looks like audio and is not even opened: name to reason."""
    os.mkfifo(folder / "pipe.wav")
    (folder / "dangling.wav").symlink_to(folder / "nowhere.wav")
    (folder / "folder.wav").mkdir()
    return {"pipe.wav": "not a regular file", "dangling.wav": "a symbolic link that leads nowhere"}


@contextmanager
def without_root() -> Iterator[None]:
    """Be an ordinary user for a while, if that is not what we are."""
    ours = os.geteuid()
    if ours == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(ours)
