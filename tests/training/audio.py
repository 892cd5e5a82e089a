"""Labelled folders of short synthetic clips."""

import math

import numpy as np
import soundfile

SAMPLE_RATE = 8000
N_FFT = 64


def write_tones(folder, n_clips=8, classes=("high", "low"), seconds=0.1):
    """A class for each tone, an octave apart; easy."""
    random = np.random.default_rng(0)
    for number, name in enumerate(sorted(classes)):
        (folder / name).mkdir(parents=True)
        frequency = 400.0 * 2**number
        for clip in range(n_clips):
            time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
            wave = np.sin(2 * np.pi * frequency * time + random.uniform(0, 6))
            wave = 0.3 * wave + 0.02 * random.standard_normal(len(time))
            soundfile.write(folder / name / f"{clip:02d}.wav", wave, SAMPLE_RATE, "FLOAT")
    return folder


def phase_wave(phase, relation, n_samples=512):
    """Two partials of equal strength in bins 8 and 16; a class is their phase relation.

    Both partials lie in the middle of a bin and the hop of 16 samples is two periods of their
    difference of 8 bins, so that every frame of a clip holds the same relation. Partials eight
    bins apart do not meet within a Hann-windowed row, so the magnitudes are the same whatever
    the relation: nothing that looks at them can tell the classes. A row that holds both
    frequencies can.
    """
    turn = 2 * np.pi * 8 * np.arange(n_samples) / N_FFT
    return np.cos(turn + phase) + np.cos(2 * turn + phase + relation)


def write_phases(folder, n_clips=30, n_classes=4):
    """A class for each relation of `phase_wave`, in clips of random phase, level and noise."""
    random = np.random.default_rng(0)
    for number in range(n_classes):
        (folder / str(number)).mkdir(parents=True)
        relation = 2 * math.pi * number / n_classes
        for clip in range(n_clips):
            wave = phase_wave(random.uniform(0, 2 * math.pi), relation)
            wave *= 0.2 * random.uniform(0.5, 1.5)
            wave += 0.01 * random.standard_normal(len(wave))
            soundfile.write(folder / str(number) / f"{clip:02d}.wav", wave, SAMPLE_RATE, "FLOAT")
    return folder


PHASE_SETTINGS = {
    "n_fft": N_FFT,
    "hop_length": 16,
    "n_mels": 16,
    "center": False,
    "crop": 512 / SAMPLE_RATE,
    "model": "linear",
    "lr": 1e-2,
    "basis_lr": 3e-3,
    "epochs": 15,
    "batch_size": 16,
}

TINY = {
    "n_fft": N_FFT,
    "n_mels": 8,
    "crop": 0.08,
    "model": "linear",
    "lr": 1e-2,
    "epochs": 5,
    "batch_size": 5,
    "runs": 1,
    "verdict": False,
}
"""Five epochs of two steps."""
