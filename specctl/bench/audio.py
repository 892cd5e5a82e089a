"""Audio to measure with: speech and music in turns, 16 bit with dither, never zeros.

Zeros run faster than audio does on some machines, and a logarithm shows its errors only where loud
and quiet stand side by side.
"""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specctl.bench.workload import Workload
from specctl.errors import ParameterError
from specctl.main_memory import usable_memory
from specctl.words import size

_Samples = npt.NDArray[np.float64]

_TURN_SECONDS = 2.5
"""Length of one piece of speech or music."""

_MOST_BYTES = 2**28
"""All inputs that are rotated together; beyond that there are at least three."""

_FEWEST, _MOST = 3, 64
_SAMPLE_BYTES = 4
_ROWS_BYTES = 24
"""For each ``n_fft`` squared: the rows of the reference, as they are built."""


def check_room(workload: Workload) -> None:
    """Raise ParameterError for what is larger than the memory that may be used."""
    memory = usable_memory()
    if memory is None:
        return
    longest = math.isqrt(memory // _ROWS_BYTES)
    if workload.n_fft > longest:
        raise ParameterError(
            f"n_fft must be at most {longest} where {size(memory)} of memory may be used, which "
            f"the rows in float64 take that errors are measured with, got {workload.n_fft}"
        )
    # what is checked, and what is rotated
    most = memory // (_SAMPLE_BYTES * (1 + _FEWEST) * workload.n_samples)
    if workload.batch > most:
        raise ParameterError(
            f"batch must be at most {most} with {workload.seconds:g} s at "
            f"{workload.sample_rate} Hz where {size(memory)} of memory may be used, "
            f"got {workload.batch}"
        )


def clips(workload: Workload) -> Tensor:
    """The first batch of a workload, (batch, samples) float32 on the CPU."""
    return _batch(workload, first=0)


def rotation(workload: Workload, cache_bytes: int) -> list[Tensor]:
    """Batches that together are twice as large as the cache, on the device of the workload."""
    n_bytes = _SAMPLE_BYTES * workload.batch * workload.n_samples
    wanted = max(_FEWEST, min(_MOST, 1 + min(2 * cache_bytes, _MOST_BYTES) // n_bytes))
    batches = [_batch(workload, first=index * workload.batch) for index in range(wanted)]
    return [batch.to(workload.device) for batch in batches]


def _batch(workload: Workload, first: int) -> Tensor:
    made = _long_clip(workload.sample_rate, workload.n_samples)
    step = 7919  # a prime: no two clips begin at the same place of a frame
    shifted = [np.roll(made, step * (first + item)) for item in range(workload.batch)]
    return torch.from_numpy(np.stack(shifted))


@lru_cache(maxsize=4)
def _long_clip(sample_rate: int, n_samples: int) -> npt.NDArray[np.float32]:
    """Speech and music in turns, each turn at a level of its own down to -30 dB."""
    rng = np.random.default_rng(0)
    turn = max(1, round(_TURN_SECONDS * sample_rate))
    pieces = (_speech(sample_rate, turn, rng), _music(sample_rate, turn, rng))
    clip = np.concatenate(
        [
            pieces[index % 2] * 10.0 ** (-1.5 * rng.random() if index > 1 else 0.0)
            for index in range(-(-n_samples // turn))
        ]
    )[:n_samples]
    # one step of 16 bit with triangular dither, as a recorder leaves it
    dither = rng.uniform(-0.5, 0.5, (2, n_samples)).sum(0)
    return np.asarray(np.round(clip * 32767 + dither) / 32768, dtype=np.float32)


def _speech(sample_rate: int, n_samples: int, rng: np.random.Generator) -> _Samples:
    """A buzz of gliding pitch under three resonances, in syllables, with breath noise."""
    time = np.arange(n_samples) / sample_rate
    glide = 2 * np.pi * np.cumsum(130 + 25 * np.sin(2 * np.pi * 0.8 * time)) / sample_rate
    sound = np.zeros(n_samples)
    for order in range(1, int(0.4 * sample_rate / 160)):
        hz = 130.0 * order
        formants = sum(
            np.exp(-(((hz - centre) / width) ** 2))
            for centre, width in ((550, 180), (1500, 260), (2600, 420))
        )
        sound += (formants + 0.01) * np.sin(order * glide) / order
    syllables = 0.02 + np.clip(np.sin(2 * np.pi * 2.8 * time), 0, None) ** 2
    return _levelled(sound * syllables + 1e-3 * rng.standard_normal(n_samples))


def _music(sample_rate: int, n_samples: int, rng: np.random.Generator) -> _Samples:
    """Struck strings that ring into each other over hiss."""
    sound = 2e-4 * rng.standard_normal(n_samples)
    for onset in range(0, n_samples, max(1, n_samples // 6)):
        time = np.arange(n_samples - onset) / sample_rate
        base = rng.uniform(90, 700)
        for order in range(1, 1 + int(min(10, 0.45 * sample_rate / base))):
            decay = np.exp(-3.0 * order**0.5 * time)
            sound[onset:] += decay * np.sin(2 * np.pi * order * base * time) / order
    return _levelled(sound)


def _levelled(sound: _Samples) -> _Samples:
    return np.asarray(0.7 * sound / np.abs(sound).max())
