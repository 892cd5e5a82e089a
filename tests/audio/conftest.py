"""Real audio files of every format, made small and once a session."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16_000
N_SAMPLES = 3 * RATE + 77  # no multiple of any frame or block
RECIPES = {
    "wav-pcm8": ("a.wav", {"subtype": "PCM_U8"}),
    "wav-pcm16": ("a.wav", {"subtype": "PCM_16"}),
    "wav-pcm24": ("a.wav", {"subtype": "PCM_24"}),
    "wav-pcm32": ("a.wav", {"subtype": "PCM_32"}),
    "wav-float": ("a.wav", {"subtype": "FLOAT"}),
    "wav-double": ("a.wav", {"subtype": "DOUBLE"}),
    "wav-ulaw": ("a.wav", {"subtype": "ULAW"}),
    "wav-ima-adpcm": ("a.wav", {"subtype": "IMA_ADPCM"}),
    "wav-big-endian": ("a.wav", {"subtype": "PCM_16", "endian": "BIG"}),
    "wavex": ("a.wav", {"format": "WAVEX", "subtype": "PCM_24"}),
    "flac": ("a.flac", {}),
    "ogg-vorbis": ("a.ogg", {"subtype": "VORBIS"}),
    "ogg-opus": ("a.opus", {"format": "OGG", "subtype": "OPUS"}),
    "mp3-cbr": ("a.mp3", {"format": "MP3", "bitrate_mode": "CONSTANT"}),
    "mp3-vbr": ("a.mp3", {"format": "MP3", "bitrate_mode": "VARIABLE"}),
    "aiff": ("a.aiff", {}),
    "au": ("a.au", {}),
    "caf": ("a.caf", {}),
    "w64": ("a.w64", {}),
    "rf64": ("a.rf64", {"format": "RF64"}),
    "nist": ("a.sph", {"format": "NIST", "subtype": "PCM_16"}),
}
CUT_IS_SEEN = tuple(name for name in RECIPES if name != "wav-ima-adpcm")


def noise(n_samples: int, n_channels: int, seed: int = 0) -> np.ndarray:
    """Noise that grows louder, so that variable bit rates do vary."""
    samples = np.random.default_rng(seed).standard_normal((n_samples, n_channels))
    return (samples * np.linspace(0.001, 0.2, n_samples)[:, None]).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **kwargs: object) -> Path:
    """Write a file second by second: one long Ogg write crashes libsndfile."""
    with soundfile.SoundFile(path, "w", rate, samples.shape[1], **kwargs) as file:
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])
    return path


def read(path: Path, n_samples: int = -1) -> np.ndarray:
    """All samples by soundfile, (samples, channels); as librosa does, without a seek.

    ``soundfile.read`` seeks to the start first, after which MP3 differs in the last bit.
    """
    with soundfile.SoundFile(path) as file:
        return file.read(n_samples, dtype="float32", always_2d=True)


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One stereo file for each of RECIPES; not to be changed."""
    folder = tmp_path_factory.mktemp("originals")
    paths = {}
    for name, (file_name, kwargs) in RECIPES.items():
        (folder / name).mkdir()
        paths[name] = write(folder / name / file_name, noise(N_SAMPLES, 2), **kwargs)
    return paths


@pytest.fixture
def copy_of(originals: dict[str, Path], tmp_path: Path):
    """Function from a recipe's name to a fresh copy of its file."""

    def copy(name: str) -> Path:
        return Path(shutil.copy(originals[name], tmp_path))

    return copy


@pytest.fixture
def tree(tmp_path):
    """Function from names to files in a folder ``root``, which it returns."""
    root = tmp_path / "root"
    root.mkdir()

    def build(*names):
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"sound of " + os.fsencode(name))
        return root

    return build
