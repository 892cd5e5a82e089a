"""What is known of an audio file before it is decoded, and what a decoder has to offer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from specctl.errors import AudioError

Samples = npt.NDArray[np.float32]

Room = Callable[[int], Samples]
"""Gives memory for so many samples, in which they stay: (samples, channels), C-contiguous."""

SAMPLE_RATE_RANGE = (1_000, 768_000)  # Hz; outside it a header is damaged or a joke
MAX_CHANNELS = 1024


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header says.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    n_channels : int
        At least 1.
    n_samples : int, optional
        Samples a channel as declared; None where nothing is, or only a guess.
    format : str
        Container and encoding, such as ``"wav/pcm_16"`` or ``"ogg/vorbis"``.
    backend : {"soundfile", "av"}
        Which library has a decoder for it.
    """

    sample_rate: int
    n_channels: int
    n_samples: int | None
    format: str
    backend: Literal["soundfile", "av"]


class Decoder(Protocol):
    """One open file, whichever library reads it."""

    info: AudioInfo
    n_expected: int | None
    """Fewest samples that make the file complete; None if nothing tells."""
    may_be_non_finite: bool
    """False where the encoding is of integers."""

    def blocks(self, block_length: int, room: Room | None = None) -> Iterator[Samples]:
        """Blocks of (samples, channels) from the start.

        In memory that ``room`` gives for each when it is begun, else one buffer for all.
        """
        ...

    def has_read_all(self) -> bool:
        """Whether the decoder, when it failed, had seen the file to its end."""
        ...

    def rest(self, n_before: int, most: int) -> Samples:
        """Samples that can be decoded after the first ``n_before``, before decoding fails."""
        ...


def one_buffer(n_channels: int) -> Room:
    """The same memory again and again: each block overwrites the one before."""
    memory: Samples = np.empty((0, n_channels), np.float32)

    def room(n_samples: int) -> Samples:
        nonlocal memory
        if n_samples > len(memory):
            memory = np.empty((n_samples, n_channels), np.float32)
        return memory[:n_samples]

    return room


def check_info(info: AudioInfo) -> None:
    """Refuse what no recording has: the sample rate or the channels are absurd."""
    low, high = SAMPLE_RATE_RANGE
    if not low <= info.sample_rate <= high:
        raise AudioError(f"sample rate {info.sample_rate} Hz is outside {low} to {high} Hz")
    if not 1 <= info.n_channels <= MAX_CHANNELS:
        raise AudioError(f"{info.n_channels} channels are outside 1 to {MAX_CHANNELS}")
