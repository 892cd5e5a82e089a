"""The corpus of `convert.py`: notes that die away over coloured noise, the same on every machine.

Real recordings would be better and nobody may pass them on; these have what matters to a
decoder and to a logarithm: a full spectrum, loud and soft passages, and never a run of zeros.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "mp3": "MPEG_LAYER_III", "ogg": "VORBIS"}
CLIPS_A_FOLDER = 50
LONGEST_SECONDS = 30
CLIP_SECONDS = tuple(n for n in range(1, LONGEST_SECONDS + 1) if LONGEST_SECONDS % n == 0)
"""How long clips can be: shorter ones are pieces of the longest."""


def waveform(seed: int, sample_rate: int, seconds: int) -> npt.NDArray[np.float32]:
    """One clip, (samples,) float32, peak 0.8; equal for equal arguments."""
    rng = np.random.default_rng(seed)
    n_samples = seconds * sample_rate
    sound = _coloured_noise(n_samples, rng)
    scale = rng.uniform(80, 400) * 2.0 ** (np.array([0, 2, 4, 7, 9, 12, 14, 16]) / 12)
    for start in np.sort(rng.uniform(0, seconds - 1.5, 60)):
        note = _note(float(rng.choice(scale)), float(rng.uniform(0.1, 0.8)), sample_rate)
        first = int(start * sample_rate)
        sound[first : first + len(note)] += rng.uniform(0.2, 1.0) * note

    # loudness moves by up to 40 dB, a new level about every two seconds
    levels_db = rng.uniform(-40, 0, seconds // 2 + 2)
    positions = np.linspace(0, len(levels_db) - 1, n_samples)
    sound *= 10 ** (np.interp(positions, np.arange(len(levels_db)), levels_db) / 20)
    sound *= 0.8 / np.abs(sound).max()
    # three steps of 16 bit, so that no passage rounds to zeros
    sound += 3 / 32768 * rng.standard_normal(n_samples)
    return sound.astype(np.float32)


def _coloured_noise(n_samples: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise that falls by 3 to 9 dB an octave, RMS 0.1; (n_samples,)."""
    # the next power of two: a length with a large prime factor would take minutes
    n_fft = 1 << (n_samples - 1).bit_length()
    spectrum = np.fft.rfft(rng.standard_normal(n_fft))
    bins = np.arange(1, len(spectrum) + 1)
    noise = np.fft.irfft(spectrum * bins ** -rng.uniform(0.5, 1.5), n_fft)[:n_samples]
    return np.asarray(0.1 * noise / noise.std())


def _note(base: float, decay: float, sample_rate: int) -> npt.NDArray[np.float64]:
    """Harmonics of ``base`` Hz, the high ones gone first; 1.5 s."""
    time = np.arange(int(1.5 * sample_rate)) / sample_rate
    n_harmonics = min(12, int(0.45 * sample_rate / base))
    note = np.zeros_like(time)
    for k in range(1, n_harmonics + 1):
        note += np.exp(-time * k**0.5 / decay) * np.sin(2 * np.pi * k * base * time) / k
    return note


def write(path: Path, sound: npt.NDArray[np.float32], sample_rate: int, subtype: str) -> None:
    """Write a second at a time: one long Vorbis write overruns the stack in libsndfile."""
    with soundfile.SoundFile(path, "w", sample_rate, 1, subtype=subtype) as out:
        for start in range(0, len(sound), sample_rate):
            out.write(sound[start : start + sample_rate])


def _write_clips(
    number: int, folder: Path, formats: list[str], sample_rate: int, seconds: int
) -> None:
    """The clips that one waveform is cut into."""
    sound = waveform(number, sample_rate, LONGEST_SECONDS)
    n_clips = LONGEST_SECONDS // seconds
    for place, clip in enumerate(np.split(sound, n_clips)):
        index = number * n_clips + place
        for name in formats:
            path = folder / name / f"{index // CLIPS_A_FOLDER:02d}" / f"clip-{index:05d}.{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, clip, sample_rate, FORMATS[name])


def build(
    folder: Path, formats: list[str], *, minutes: float, sample_rate: int, clip_seconds: int
) -> None:
    """Write ``folder/FORMAT/NN/clip-NNNNN.FORMAT``; what a finished build left is kept."""
    wanted = {"minutes": minutes, "sample_rate": sample_rate, "clip_seconds": clip_seconds}
    card = folder / "corpus.json"
    done: list[str] = []
    if card.exists():
        found = json.loads(card.read_text())
        done = found.pop("formats")
        if found != wanted:
            raise SystemExit(
                f"{folder} holds {found}, wanted {wanted}; name another folder with --corpus"
            )
    missing = [name for name in formats if name not in done]
    if not missing:
        return
    n_waveforms = max(1, round(minutes * 60 / LONGEST_SECONDS))
    with ProcessPoolExecutor() as pool:
        shared = map(repeat, (folder, missing, sample_rate, clip_seconds))
        for _ in pool.map(_write_clips, range(n_waveforms), *shared, chunksize=4):
            pass
    card.write_text(json.dumps({**wanted, "formats": done + missing}) + "\n")


if __name__ == "__main__":
    # a process of its own, so that the one that measures stays small
    arguments = json.loads(sys.argv[1])
    build(Path(arguments.pop("folder")), arguments.pop("formats"), **arguments)
