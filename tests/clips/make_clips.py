"""Make the clips in this folder, all of them synthesised: nobody's recording, nobody's voice.

Run it from anywhere with numpy and soundfile installed::

    python tests/clips/make_clips.py            # beside this file
    python tests/clips/make_clips.py FOLDER     # elsewhere, to compare

The waveforms are the same on every run. The files need not be byte for byte: lossy encoders
change between library versions, an Ogg stream has a random serial number, and a float WAV
carries the time it was written.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import instruments as play
import numpy as np
import soundfile
from voice import speak

# decoded lossy audio overshoots by up to a third; nothing may clip
PEAK = 0.7


class Clip(NamedTuple):
    """One file: where it goes, how it is stored, what makes its waveform."""

    path: str
    sample_rate: int
    subtype: str
    make: Callable[[int], np.ndarray]


def mix(seconds: float, sample_rate: int, notes: list) -> np.ndarray:
    """Add ``(start in s, gain, pan in [-1, 1], waveform)`` up, cut at the end; (samples, 2)."""
    out = np.zeros((round(seconds * sample_rate), 2))
    for start, gain, pan, waveform in notes:
        first = round(start * sample_rate)
        angle = (pan + 1) * np.pi / 4
        fit = waveform[: len(out) - first, None]
        out[first : first + len(fit)] += gain * fit * [np.cos(angle), np.sin(angle)]
    # no click where a sound was cut
    n_fade = sample_rate // 50
    out[-n_fade:] *= np.linspace(1, 0, n_fade)[:, None]
    return out


def mono(stereo: np.ndarray) -> np.ndarray:
    """Mean of the channels; (samples,)."""
    return stereo.mean(axis=1)


def in_room(stereo: np.ndarray, rate: int, seconds: float, wet: float) -> np.ndarray:
    """A tail of its own for each channel, which is what makes a room sound wide."""
    return np.stack(
        [
            play.room(channel, rate, seconds=seconds, wet=wet, seed=seed)
            for seed, channel in enumerate(stereo.T)
        ],
        axis=1,
    )


def bells(rate: int) -> np.ndarray:
    notes = [(0.0, 74, -0.6), (0.6, 69, 0.5), (1.1, 78, -0.2), (1.5, 81, 0.7), (2.1, 62, 0.0)]
    struck = [(start, 0.5, pan, play.bell(note, 3.5, rate)) for start, note, pan in notes]
    return in_room(mix(4.0, rate, struck), rate, 1.8, 0.25)


def plucked(rate: int) -> np.ndarray:
    notes = [45, 52, 57, 61, 64, 69, 64, 61, 57, 52, 50, 57, 62, 66, 69, 74]
    strings = [
        (0.15 * n, 0.5, np.sin(n), play.pluck(note, 1.2, rate, seed=n))
        for n, note in enumerate(notes)
    ]
    return mix(3.0, rate, strings)


def strummed(rate: int) -> np.ndarray:
    chords = [(0.0, (40, 47, 52, 56, 59, 64)), (1.0, (45, 52, 57, 61, 64, 69))]
    strings = [
        (start + 0.03 * n, 0.5, 0.0, play.pluck(note, 1.4, rate, seed=note))
        for start, chord in chords
        for n, note in enumerate(chord)
    ]
    return mono(mix(2.2, rate, strings))


def chords(rate: int) -> np.ndarray:
    minor, major = (57, 60, 64, 69), (53, 57, 60, 65)
    pads = [
        (0.0, 1.0, 0.0, play.pad(minor, 1.3, rate, sweep=(250, 4000))),
        (1.1, 1.0, 0.0, play.pad(major, 1.3, rate, sweep=(250, 6000))),
    ]
    return mono(mix(2.4, rate, pads))


def arpeggio(rate: int) -> np.ndarray:
    scale = [60, 63, 67, 70, 72, 75, 79, 82, 84, 82, 79, 75, 72, 70, 67, 63]
    blips = [
        (0.11 * n, 0.5, 0.8 * (-1) ** n, play.blip(note, 0.5, rate))
        for n, note in enumerate(scale * 2)
    ]
    return in_room(mix(3.6, rate, blips), rate, 0.7, 0.15)


def duet(rate: int) -> np.ndarray:
    lines = [
        (0.0, 0.6, -0.7, play.glide(220, 880, 2.4, rate)),
        (0.5, 0.5, 0.7, play.glide(660, 330, 2.4, rate)),
    ]
    return in_room(mix(3.0, rate, lines), rate, 1.0, 0.2)


def beat(rate: int, step: float, patterns: dict[str, str], swing: float = 0.0) -> np.ndarray:
    """Drums from one string a voice: ``x`` is a hit, ``o`` a soft one, ``.`` a rest."""
    voices = {
        "kick": (1.0, 0.0, play.drum(rate, start=180, end=45, drop=0.03, decay=0.12)),
        "snare": (0.8, -0.1, play.snare(rate, seed=1)),
        "hat": (0.6, 0.4, play.hat(rate, decay=0.03, seed=2)),
        "open": (0.6, 0.4, play.hat(rate, decay=0.15, seed=3)),
        "clap": (0.9, -0.3, play.clap(rate, seed=4)),
        "high": (0.7, 0.6, play.drum(rate, start=420, end=210, drop=0.05, decay=0.10)),
        "low": (0.8, -0.6, play.drum(rate, start=260, end=110, drop=0.06, decay=0.16)),
    }
    hits = [
        (step * (n + swing * (n % 2)), gain * (1.0 if mark == "x" else 0.4), pan, waveform)
        for name, pattern in patterns.items()
        for gain, pan, waveform in [voices[name]]
        for n, mark in enumerate(pattern)
        if mark != "."
    ]
    return mix(step * max(map(len, patterns.values())), rate, hits)


def rock(rate: int) -> np.ndarray:
    patterns = {"kick": "x.....x.x.x.....", "snare": "....x.......x..o", "hat": "x.x.x.x.x.x.x.x."}
    return mono(beat(rate, 0.125, patterns))


def house(rate: int) -> np.ndarray:
    patterns = {"kick": "x...x...x...x...", "clap": "....x.......x...", "open": "..x...x...x...x."}
    return beat(rate, 0.12, {**patterns, "hat": "ooxoooxoooxoooxo"})


def shuffle(rate: int) -> np.ndarray:
    patterns = {"kick": "x..x..x.x..x", "snare": "..x.o.x..ox.", "hat": "xoxoxoxoxoxo"}
    return mono(beat(rate, 0.17, patterns, swing=0.33))


def toms(rate: int) -> np.ndarray:
    patterns = {"high": "x.xx..x...x.o...", "low": "....x.xx..x.x.xx", "kick": "x.......x......."}
    return mono(beat(rate, 0.14, {**patterns, "open": "x..............x"}))


def hats(rate: int) -> np.ndarray:
    patterns = {"hat": "xoxxoxoxxoxoxxox", "open": "...x.......x...x", "clap": "....x.......x..."}
    return beat(rate, 0.10, patterns)


def saying(text: str, *, pitch: float, tract: float, pace: float, seed: int):
    return lambda rate: speak(text, rate, pitch=pitch, tract=tract, pace=pace, seed=seed)


CLIPS = [
    Clip("speech/hello.wav", 16000, "PCM_16",
         saying("helo welt", pitch=110, tract=1.0, pace=1.3, seed=1)),
    Clip("speech/telephone.wav", 8000, "PCM_U8",
         saying("ja hir telefon ains", pitch=125, tract=1.0, pace=1.0, seed=2)),
    Clip("speech/numbers.flac", 22050, "PCM_16",
         saying("ains tswai trai", pitch=190, tract=1.15, pace=1.2, seed=3)),
    Clip("speech/spectrogram.opus", 48000, "OPUS",
         saying("spektrokram", pitch=205, tract=1.17, pace=1.4, seed=4)),
    Clip("speech/seashore.mp3", 16000, "MPEG_LAYER_III",
         saying("Si sels si Sels", pitch=270, tract=1.25, pace=1.2, seed=5)),
    Clip("speech/vowels.ogg", 32000, "VORBIS",
         saying("aeioua uoiea", pitch=120, tract=1.0, pace=1.5, seed=6)),
    Clip("music/Glocken über Tal.ogg", 44100, "VORBIS", bells),
    Clip("music/plucked.flac", 32000, "PCM_16", plucked),
    Clip("music/strummed.wav", 16000, "FLOAT", strummed),
    Clip("music/chords.wav", 22050, "PCM_24", chords),
    Clip("music/arpeggio.mp3", 44100, "MPEG_LAYER_III", arpeggio),
    Clip("music/duet.opus", 48000, "OPUS", duet),
    Clip("drums/rock.wav", 22050, "PCM_16", rock),
    Clip("drums/house.mp3", 44100, "MPEG_LAYER_III", house),
    Clip("drums/shuffle.flac", 44100, "PCM_16", shuffle),
    Clip("drums/toms.ogg", 22050, "VORBIS", toms),
    Clip("drums/hats.opus", 48000, "OPUS", hats),
]  # fmt: skip


def write(path: Path, waveform: np.ndarray, sample_rate: int, subtype: str) -> None:
    """Write a second at a time: one long Vorbis write overruns the stack in libsndfile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = 1 if waveform.ndim == 1 else waveform.shape[1]
    format_name = "OGG" if path.suffix == ".opus" else None
    with soundfile.SoundFile(
        path, "w", sample_rate, channels, subtype=subtype, format=format_name
    ) as out:
        for start in range(0, len(waveform), sample_rate):
            out.write(waveform[start : start + sample_rate])


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for clip in CLIPS:
        waveform = clip.make(clip.sample_rate)
        write(
            folder / clip.path,
            waveform * (PEAK / np.abs(waveform).max()),
            clip.sample_rate,
            clip.subtype,
        )


if __name__ == "__main__":
    main()
