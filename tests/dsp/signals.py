"""Sound made for tests: full spectra, soft and loud passages, the same on every machine."""

import numpy as np
import torch


def noise(*shape, seed=0):
    """White noise, float32, RMS 0.1."""
    samples = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy((0.1 * samples).astype(np.float32))


def speech_like(sample_rate, n_samples):
    """A buzz through moving resonances, syllables with pauses between them, breath noise."""
    rng = np.random.default_rng(1)
    time = np.arange(n_samples) / sample_rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    buzz = np.zeros(n_samples)
    for k in range(1, int(0.45 * sample_rate / 140)):
        hz = k * 120
        resonance = sum(
            np.exp(-(((hz - centre * (1 + 0.2 * np.sin(2 * np.pi * rate * time))) / width) ** 2))
            for centre, width, rate in ((600, 150, 1.3), (1700, 250, 0.9), (2700, 400, 0.5))
        )
        buzz += (resonance + 0.01) * np.sin(k * phase) / k
    syllables = np.clip(np.sin(2 * np.pi * 3 * time), 0, None) ** 2
    return _limited(buzz * syllables + 1e-3 * rng.standard_normal(n_samples))


def music_like(sample_rate, n_samples):
    """Struck strings that die away, one over another, over a soft hiss."""
    rng = np.random.default_rng(2)
    sound = 1e-4 * rng.standard_normal(n_samples)
    for onset in range(0, n_samples, max(1, n_samples // 8)):
        time = np.arange(n_samples - onset) / sample_rate
        base = rng.uniform(80, 600)
        for k in range(1, int(min(12, 0.45 * sample_rate / base)) + 1):
            sound[onset:] += np.exp(-3 * k**0.5 * time) * np.sin(2 * np.pi * k * base * time) / k
    return _limited(sound)


def quantised(samples):
    """To 16 bit and back, with triangular dither."""
    rng = np.random.default_rng(3)
    dither = rng.uniform(-0.5, 0.5, (2, samples.size)).sum(0)
    return (np.round(samples * 32767 + dither) / 32768).astype(np.float32)


def signals(sample_rate, n_samples):
    """Name to waveform, float32, of everything that spectra are compared on."""
    speech = speech_like(sample_rate, n_samples)
    return {
        "speech": speech,
        "music": music_like(sample_rate, n_samples),
        "16 bit": quantised(0.5 * speech),
        "quiet": (speech * 1e-3).astype(np.float32),
    }


def _limited(samples):
    return (0.8 * samples / np.abs(samples).max()).astype(np.float32)
