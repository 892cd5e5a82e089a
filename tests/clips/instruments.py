"""Notes and drums from formulas; every function returns a waveform (samples,) in about [-1, 1]."""

import itertools
import math

import numpy as np

TURN = 2.0 * math.pi


def hertz(note: int) -> float:
    """Frequency of a MIDI note number, 69 being 440 Hz."""
    return 440.0 * 2.0 ** ((note - 69) / 12)


def _time(seconds: float, sample_rate: int):
    return np.arange(round(seconds * sample_rate)) / sample_rate


def band(signal, low: float, high: float, sample_rate: int):
    """Keep ``low`` to ``high`` Hz, with slopes of an octave so that nothing rings."""
    frequency = np.fft.rfftfreq(len(signal), 1 / sample_rate) + 1e-9
    rise = np.clip(1.0 + np.log2(frequency / low), 0.0, 1.0) if low > 0 else 1.0
    fall = np.clip(1.0 - np.log2(frequency / high), 0.0, 1.0)
    return np.fft.irfft(np.fft.rfft(signal) * rise * fall, len(signal))


def room(dry, sample_rate: int, *, seconds: float, wet: float, seed: int):
    """Add the tail of a room: noise that decays by 60 dB in ``seconds``."""
    time = _time(seconds, sample_rate)
    tail = np.random.default_rng(seed).standard_normal(len(time)) * 10.0 ** (-3 * time / seconds)
    tail /= np.sqrt(np.sum(tail**2))
    size = len(dry) + len(tail)
    echo = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(tail, size), size)
    return dry + wet * echo[: len(dry)]


def pluck(note: int, seconds: float, sample_rate: int, *, seed: int, ring: float = 0.996):
    """Karplus-Strong string: a burst of noise in a loop that averages neighbours."""
    period = sample_rate / hertz(note)
    n_loop = math.ceil(period)
    n_turns = math.ceil(seconds * sample_rate / period) + 2
    turns = np.empty((n_turns, n_loop))
    turns[0] = np.random.default_rng(seed).uniform(-1, 1, n_loop)
    turns[0] -= turns[0].mean()
    for last, this in itertools.pairwise(turns):
        this[:] = ring * 0.5 * (last + np.roll(last, 1))
    # the loop is a whole number of samples, the pitch is not: read it at another speed
    positions = np.arange(round(seconds * sample_rate)) * (n_loop + 0.5) / period
    string = np.interp(positions, np.arange(turns.size), turns.ravel())
    return string * np.minimum(1.0, (seconds - _time(seconds, sample_rate)) / 0.02)


def bell(note: int, seconds: float, sample_rate: int):
    """Frequency modulation at an inharmonic ratio; brightness fades before loudness."""
    time, carrier = _time(seconds, sample_rate), hertz(note)
    sound = np.zeros_like(time)
    for ratio, gain, decay in ((1.0, 0.6, 1.6), (2.76, 0.25, 0.8), (5.4, 0.15, 0.35)):
        index = 3.0 * np.exp(-time / (0.4 * decay))
        bend = index * np.sin(TURN * 1.4 * carrier * ratio * time)
        sound += gain * np.exp(-time / decay) * np.sin(TURN * carrier * ratio * time + bend)
    fade = np.minimum(1.0, (seconds - time) / 0.5)
    return band(sound, 0, 0.35 * sample_rate, sample_rate) * fade


def pad(notes: tuple[int, ...], seconds: float, sample_rate: int, *, sweep: tuple[float, float]):
    """Chord of saw tones, each harmonic weighted by a peak that sweeps over the spectrum."""
    time = _time(seconds, sample_rate)
    low, high = (math.log2(edge) for edge in sweep)
    peak = low + (high - low) * 0.5 * (1 - np.cos(TURN * time / seconds))
    chord = np.zeros_like(time)
    for base in (hertz(note) * detune for note in notes for detune in (0.997, 1.003)):
        for k in range(1, int(0.45 * sample_rate / base)):
            weight = 0.12 + np.exp(-(((math.log2(k * base) - peak) / 0.45) ** 2))
            chord += weight * np.sin(TURN * k * base * time + k) / k**0.8
    ramp = np.minimum(1.0, np.minimum(time / 0.15, (seconds - time) / 0.3))
    return ramp * chord / np.abs(chord).max()


def blip(note: int, seconds: float, sample_rate: int):
    """Short square tone, odd harmonics only, the high ones gone first."""
    time, base = _time(seconds, sample_rate), hertz(note)
    harmonics = range(1, int(0.45 * sample_rate / base), 2)
    tone = sum(
        np.exp(-time * (4 + 1.5 * k)) * np.sin(TURN * k * base * time) / k for k in harmonics
    )
    return tone * np.minimum(1.0, (seconds - time) / 0.01)


def glide(low: float, high: float, seconds: float, sample_rate: int, *, vibrato: float = 0.02):
    """A sung line: five harmonics that rise from ``low`` to ``high`` Hz and fall back."""
    time = _time(seconds, sample_rate)
    arc = np.sin(math.pi * time / seconds) ** 2
    frequency = low * (high / low) ** arc * (1 + vibrato * np.sin(TURN * 6 * time) * arc)
    phase = TURN * np.cumsum(frequency) / sample_rate
    tone = sum(np.sin(k * phase) / k**1.3 for k in range(1, 6))
    return 0.5 * tone * np.minimum(1.0, np.minimum(time, seconds - time) / 0.08)


def drum(sample_rate: int, *, start: float, end: float, drop: float, decay: float):
    """A skin: a sine that drops from ``start`` to ``end`` Hz, and the click of the hit."""
    time = _time(6 * decay, sample_rate)
    frequency = end + (start - end) * np.exp(-time / drop)
    skin = np.sin(TURN * np.cumsum(frequency) / sample_rate) * np.exp(-time / decay)
    return skin + 0.3 * np.exp(-time / 0.002) * np.cos(TURN * 0.11 * sample_rate * time)


def snare(sample_rate: int, *, seed: int):
    """Two tones of the skin and the rattle of the wires."""
    time = _time(0.35, sample_rate)
    wires = np.random.default_rng(seed).standard_normal(len(time))
    wires = band(wires, 900, 0.4 * sample_rate, sample_rate) * np.exp(-time / 0.07)
    skin = np.sin(TURN * 185 * time) + 0.6 * np.sin(TURN * 330 * time)
    return 0.35 * wires + 0.5 * skin * np.exp(-time / 0.05)


def hat(sample_rate: int, *, decay: float, seed: int):
    """Six square tones at ratios of no scale, and noise, above 5 kHz (or what the rate allows)."""
    time = _time(6 * decay, sample_rate)
    metal = sum(np.sign(np.sin(TURN * 1320 * r * time)) for r in (1, 1.34, 1.8, 2.11, 2.54, 2.9))
    metal = metal + 2.0 * np.random.default_rng(seed).standard_normal(len(time))
    low = min(5000.0, 0.25 * sample_rate)
    return 0.15 * band(metal, low, 0.45 * sample_rate, sample_rate) * np.exp(-time / decay)


def clap(sample_rate: int, *, seed: int):
    """Four hands not quite together, around 1.2 kHz."""
    time = _time(0.3, sample_rate)
    noise = band(np.random.default_rng(seed).standard_normal(len(time)), 800, 2500, sample_rate)
    hands = sum(
        np.where(time >= at, np.exp(-(time - at) / fade), 0.0)
        for at, fade in ((0.0, 0.004), (0.011, 0.004), (0.023, 0.004), (0.032, 0.06))
    )
    return 0.6 * noise * hands
