"""From a decoded file to the waveforms of its items: resampling, channels, segments."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from specctl.audio.decode import AudioReader
from specctl.audio.info import Room
from specctl.audio.resample import Resampler, mix_channels
from specctl.convert.clock import Clock
from specctl.convert.held import Held, silence
from specctl.convert.settings import ConvertConfig

MIXED = -1
"""Channel number of an item that is the mean of all channels."""


_KEPT_SAMPLES = 2**24
"""64 MiB: so many are taken from one pass through a file, which is not read for each channel."""


@dataclass(slots=True)
class Counted:
    """How much of a file or item has gone by, once it has."""

    n_samples: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """One row of the index to be: which stretch of which channel, and its samples.

    ``blocks`` starts from the beginning each time it is called and gives float32 arrays of
    shape (samples,) at the store's rate, in memory that the room it is given has, where that
    saves a copy; after the last one ``counted`` is right.
    """

    key: str
    channel: int
    offset: int
    blocks: Callable[[Room | None], Iterator[np.ndarray]]
    counted: Counted


class _Decoded:
    """The samples of a file; of the channels that come next, as many are kept as fit memory."""

    def __init__(self, reader: AudioReader, config: ConvertConfig) -> None:
        self.info = reader.info
        self._reader = reader
        self._channels = _channels(reader, config)
        self._kept: dict[int, list[np.ndarray]] = {}

    def blocks(self, channel: int, room: Room | None) -> Iterator[np.ndarray]:
        """One channel, or the mean of all, from the start, shape (samples,)."""
        if channel in self._kept:
            return iter(self._kept[channel])
        if len(self._channels) > 1:
            return self._keeping(channel)
        return (_mono(block, channel) for block in self._reader.blocks(room))

    def _keeping(self, channel: int) -> Iterator[np.ndarray]:
        self._kept.clear()
        kept: dict[int, list[np.ndarray]] = {
            each: [] for each in self._channels[self._channels.index(channel) :]
        }
        n_samples = 0
        for block in self._reader.blocks():
            n_samples += len(block)
            while len(kept) * n_samples > _KEPT_SAMPLES:
                # the last of them, which is the last to be asked for
                kept.popitem()
            for each, pieces in kept.items():
                pieces.append(block[:, each].copy())
            yield _mono(block, channel)
        self._kept = kept


def _mono(block: np.ndarray, channel: int) -> np.ndarray:
    return mix_channels(block) if channel == MIXED else np.ascontiguousarray(block[:, channel])


def items(
    reader: AudioReader,
    source_key: str,
    config: ConvertConfig,
    clock: Clock,
    file: Counted,
    beside: Path,
) -> Iterator[Item]:
    """The items of one file, in the order in which they are stored; each lasts until the next.

    Keys are the file's own, with ``#ch1`` for one channel of many (``channels="each"``) and
    ``#s00001`` for a segment. Such endings are added to every item of a store or to none, so
    that keys stay unique whatever the files are called. Segments too long for memory wait in a
    file that has no name in the folder of ``beside``.
    """
    decoded = _Decoded(reader, config)
    for channel in _channels(reader, config):
        key = source_key if config.channels != "each" else f"{source_key}#ch{channel}"
        item = Counted()

        def blocks(
            room: Room | None, channel: int = channel, item: Counted = item
        ) -> Iterator[np.ndarray]:
            return _signal(decoded, config, channel, clock, file, item, room)

        if config.segment is None:
            yield Item(key, channel, 0, blocks, item)
        else:
            yield from _segments(key, channel, blocks(None), config, beside)


def _channels(reader: AudioReader, config: ConvertConfig) -> list[int]:
    if config.channels == "each":
        return list(range(reader.info.n_channels))
    return [MIXED if config.channels == "mix" else 0]


def _signal(
    decoded: _Decoded,
    config: ConvertConfig,
    channel: int,
    clock: Clock,
    file: Counted,
    item: Counted,
    room: Room | None,
) -> Iterator[np.ndarray]:
    """One channel at the store's rate, block by block."""
    resampler = Resampler(decoded.info.sample_rate, config.sample_rate)
    is_as_read = decoded.info.n_channels == 1 and decoded.info.sample_rate == config.sample_rate
    n_read = n_given = 0
    for mono in clock.timed("decode", decoded.blocks(channel, room if is_as_read else None)):
        n_read += len(mono)
        with clock.stage("resample"):
            resampled = resampler.push(mono, last=False)
        n_given += len(resampled)
        yield resampled
    with clock.stage("resample"):
        rest = resampler.push(np.empty(0, np.float32), last=True)
    file.n_samples, file.seconds = n_read, n_read / decoded.info.sample_rate
    item.n_samples = n_given + len(rest)
    if rest.size:
        yield rest


def _segments(
    key: str, channel: int, blocks: Iterator[np.ndarray], config: ConvertConfig, beside: Path
) -> Iterator[Item]:
    """Stretches of equal length; the rest is padded with zeros or dropped, as ``tail`` says."""
    length, step = config.segment_length, config.segment_step
    number = 0
    with Held(length, beside) as held:
        for block in blocks:
            start = 0
            while start < block.size:
                taken = block[start : start + held.room]
                held.add(taken)
                start += taken.size
                if held.room == 0:
                    yield _segment(key, channel, number, held, config)
                    held.drop(step)
                    number += 1
        # what the segment before already holds is no rest
        overlap = length - step if number else 0
        if config.tail == "pad" and held.size > overlap:
            yield _segment(key, channel, number, held, config)


def _segment(key: str, channel: int, number: int, held: Held, config: ConvertConfig) -> Item:
    """What is held, filled up with zeros; nothing is copied, so it lasts until the next one."""
    n_missing = held.room
    return Item(
        f"{key}#s{number:05d}",
        channel,
        number * config.segment_step,
        lambda _: chain(held.pieces(), silence(n_missing)),
        Counted(config.segment_length),
    )
