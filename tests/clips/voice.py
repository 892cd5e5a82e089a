"""A small formant synthesiser: text in a plain phonetic spelling to a waveform.

A glottal pulse train and breath noise run through a cascade of formant resonators;
hiss of fricatives and bursts of plosives takes a resonator of its own beside it.

References
----------
D. H. Klatt, "Software for a cascade/parallel formant synthesizer", J. Acoust. Soc. Am. 67, 1980.
"""

import math
from typing import NamedTuple

import numpy as np


class Phone(NamedTuple):
    """One sound: targets that the tract glides to, and how it is excited."""

    ms: int
    formants: tuple[int, int, int]
    voice: float = 0.0
    breath: float = 0.0
    hiss: float = 0.0
    hiss_hz: int = 4000
    hiss_width: int = 1500


PHONES = {
    "a": Phone(150, (760, 1200, 2500), voice=1.0),
    "e": Phone(130, (500, 1850, 2500), voice=1.0),
    "i": Phone(120, (290, 2250, 3000), voice=0.9),
    "o": Phone(150, (480, 850, 2450), voice=1.0),
    "u": Phone(140, (310, 800, 2300), voice=0.9),
    "@": Phone(90, (500, 1450, 2450), voice=0.7),
    "l": Phone(80, (350, 1100, 2700), voice=0.55),
    "r": Phone(80, (420, 1250, 1650), voice=0.6),
    "m": Phone(90, (260, 1000, 2200), voice=0.35),
    "n": Phone(80, (260, 1600, 2500), voice=0.35),
    "w": Phone(80, (300, 650, 2200), voice=0.5),
    "j": Phone(70, (270, 2200, 3000), voice=0.6),
    "z": Phone(100, (300, 1600, 2500), voice=0.3, hiss=0.35, hiss_hz=5200),
    "s": Phone(130, (320, 1600, 2500), hiss=0.8, hiss_hz=5600, hiss_width=2200),
    "S": Phone(130, (320, 1800, 2500), hiss=0.9, hiss_hz=2900, hiss_width=1200),
    "f": Phone(110, (320, 1100, 2300), hiss=0.3, hiss_hz=4500, hiss_width=6000),
    "h": Phone(80, (550, 1500, 2500), breath=0.6),
    "p": Phone(25, (320, 900, 2200), hiss=0.8, hiss_hz=900, hiss_width=900),
    "t": Phone(25, (320, 1700, 2600), hiss=1.0, hiss_hz=4200, hiss_width=2500),
    "k": Phone(30, (320, 1900, 2400), hiss=1.0, hiss_hz=1900, hiss_width=600),
    "_": Phone(60, (500, 1450, 2450)),
    " ": Phone(140, (500, 1450, 2450)),
}

# plosives are heard through the closure before and the breath after the burst
_CLOSURE = PHONES["_"]
_RELEASE = Phone(30, (500, 1500, 2500), breath=0.4)


def speak(text: str, sample_rate: int, *, pitch: float, tract: float, pace: float, seed: int):
    """Speak ``text``, one phone a letter.

    Parameters
    ----------
    text : str
        Letters of ``PHONES``.
    sample_rate : int
        Hz.
    pitch : float
        Middle of the voice in Hz; it falls by a fifth over the text and lifts on open vowels.
    tract : float
        Factor on all formants: 1.0 a man, about 1.15 a woman, 1.3 a child.
    pace : float
        Factor on all durations.
    seed : int
        Of the noise and of the flutter of the pitch.

    Returns
    -------
    ndarray, shape (samples,), float64
        Not scaled.
    """
    rng = np.random.default_rng(seed)
    tracks = _tracks(text, sample_rate, pace)
    n_samples = len(tracks["voice"])
    noise = rng.standard_normal((2, n_samples))

    f0 = _pitch_contour(n_samples, tracks["formants"][:, 0], pitch, sample_rate, rng)
    source = 2.0 * tracks["voice"] * _glottal_pulses(f0, sample_rate)
    source += 0.03 * (tracks["breath"] + 0.1 * tracks["voice"]) * noise[0]

    high_formants = np.broadcast_to([3500.0, 4500.0], (n_samples, 2))
    centres = np.hstack([tracks["formants"], high_formants]) * tract
    voiced = source
    for centre, width in zip(centres.T, (80, 100, 140, 220, 300), strict=True):
        # a resonator at or above Nyquist would fold back as a false formant
        if centre.max() < 0.46 * sample_rate:
            voiced = _resonate(voiced, centre, np.full(n_samples, float(width)), sample_rate)

    hiss_hz = np.minimum(tracks["hiss_hz"] * tract, 0.42 * sample_rate)
    hiss_width = np.minimum(tracks["hiss_width"], 0.3 * sample_rate)
    # the gain at the peak is undone, so that no fricative drowns another
    hiss = tracks["hiss"] * noise[1] / _peak_gain(hiss_hz, hiss_width, sample_rate) ** 2
    for _ in range(2):
        hiss = _resonate(hiss, hiss_hz, hiss_width, sample_rate)
    # the lips radiate the change of flow, not the flow
    spoken = np.diff(voiced, prepend=0.0)
    # text without a fricative has no hiss to scale
    hiss *= 0.3 / max(np.abs(hiss).max(), 1e-9)
    # a room is never quite silent
    return spoken / np.abs(spoken).max() + hiss + 0.001 * noise[0]


def _tracks(text: str, sample_rate: int, pace: float):
    """Per-sample targets of every phone, smoothed so that they glide."""
    phones: list[Phone] = [_CLOSURE]
    for letter in text:
        phones += [_CLOSURE, PHONES[letter], _RELEASE] if letter in "ptk" else [PHONES[letter]]
    phones.append(_CLOSURE)

    lengths = [round(phone.ms * pace * sample_rate / 1000) for phone in phones]
    tracks = {}
    for field, glide_ms in {
        "formants": 50, "voice": 30, "breath": 20, "hiss": 15, "hiss_hz": 10, "hiss_width": 10
    }.items():  # fmt: skip
        steps = np.repeat([getattr(phone, field) for phone in phones], lengths, axis=0)
        tracks[field] = _smooth(steps.astype(float), round(glide_ms * sample_rate / 1000))
    return tracks


def _smooth(track, length: int):
    """Hann-weighted running mean along the first axis; same shape."""
    weights = np.hanning(length + 2)
    weights /= weights.sum()
    columns = track.reshape(len(track), -1).T
    pad = len(weights) // 2
    smoothed = [
        np.convolve(np.pad(column, pad, mode="edge"), weights, mode="same")[pad:-pad]
        for column in columns
    ]
    return np.array(smoothed).T.reshape(track.shape)


def _pitch_contour(n_samples, openness, pitch, sample_rate, rng):
    """A falling line, lifted on open vowels, with vibrato and flutter; (samples,) in Hz."""
    time = np.arange(n_samples) / sample_rate
    line = np.linspace(1.2, 0.8, n_samples)
    accent = 0.15 * (_smooth(openness, sample_rate // 5) - 500) / 250
    flutter = _smooth(rng.standard_normal(n_samples), sample_rate // 15)
    flutter *= 0.008 / flutter.std()
    return pitch * (line + accent + 0.01 * np.sin(2 * math.pi * 5.5 * time) + flutter)


def _glottal_pulses(f0, sample_rate: int):
    """Rosenberg's pulse, a slow opening and a fast closing; (samples,) in [-0.5, 0.5]."""
    phase = np.cumsum(f0 / sample_rate) % 1.0
    opening = 0.5 * (1.0 - np.cos(math.pi * phase / 0.4))
    closing = np.cos(0.5 * math.pi * (phase - 0.4) / 0.16)
    flow = np.where(phase < 0.4, opening, np.where(phase < 0.56, closing, 0.0))
    return flow - 0.5 * (flow > 0).mean()


def _peak_gain(centre, width, sample_rate: int):
    """Gain of ``_resonate`` at its centre."""
    radius = np.exp(-math.pi * width / sample_rate)
    turn = np.exp(2j * math.pi * centre / sample_rate)
    at_zero = np.abs(1.0 - radius * turn) ** 2
    return at_zero / np.abs((1.0 - radius) * (1.0 - radius * turn**-2))


def _resonate(signal, centre, width, sample_rate: int):
    """Two-pole resonator with gain 1 at 0 Hz whose centre and width (Hz) change in time."""
    radius = np.exp(-math.pi * width / sample_rate)
    b1 = 2.0 * radius * np.cos(2.0 * math.pi * centre / sample_rate)
    b2 = -(radius**2)
    drive = (1.0 - b1 - b2) * signal
    out = np.empty_like(drive)
    last = before = 0.0
    for n, (x, p, q) in enumerate(zip(drive.tolist(), b1.tolist(), b2.tolist(), strict=True)):
        last, before = x + p * last + q * before, last
        out[n] = last
    return out
