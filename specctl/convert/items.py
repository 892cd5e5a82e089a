"""From a decoded file to the waveforms of its items: resampling, channels, segments."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from specctl.audio.decode import AudioReader
from specctl.audio.info import Room
from specctl.audio.resample import Resampler, mix_channels
from specctl.convert.clock import Clock
from specctl.convert.settings import ConvertConfig

MIXED = -1
"""Channel number of an item that is the mean of all channels."""


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


def items(
    reader: AudioReader, source_key: str, config: ConvertConfig, clock: Clock, file: Counted
) -> Iterator[Item]:
    """The items of one file, in the order in which they are stored.

    Keys are the file's own, with ``#ch1`` for one channel of many (``channels="each"``) and
    ``#s00001`` for a segment. Such endings are added to every item of a store or to none, so
    that keys stay unique whatever the files are called.
    """
    for channel in _channels(reader, config):
        key = source_key if config.channels != "each" else f"{source_key}#ch{channel}"
        item = Counted()

        def blocks(
            room: Room | None, channel: int = channel, item: Counted = item
        ) -> Iterator[np.ndarray]:
            return _signal(reader, config, channel, clock, file, item, room)

        if config.segment is None:
            yield Item(key, channel, 0, blocks, item)
        else:
            yield from _segments(key, channel, blocks(None), config)


def _channels(reader: AudioReader, config: ConvertConfig) -> list[int]:
    if config.channels == "each":
        return list(range(reader.info.n_channels))
    return [MIXED if config.channels == "mix" else 0]


def _signal(
    reader: AudioReader,
    config: ConvertConfig,
    channel: int,
    clock: Clock,
    file: Counted,
    item: Counted,
    room: Room | None,
) -> Iterator[np.ndarray]:
    """One channel at the store's rate, block by block."""
    resampler = Resampler(reader.info.sample_rate, config.sample_rate)
    is_as_read = reader.info.n_channels == 1 and reader.info.sample_rate == config.sample_rate
    n_read = n_given = 0
    for block in clock.timed("decode", reader.blocks(room if is_as_read else None)):
        n_read += len(block)
        mono = mix_channels(block) if channel == MIXED else np.ascontiguousarray(block[:, channel])
        with clock.stage("resample"):
            mono = resampler.push(mono, last=False)
        n_given += len(mono)
        yield mono
    with clock.stage("resample"):
        rest = resampler.push(np.empty(0, np.float32), last=True)
    file.n_samples, file.seconds = n_read, n_read / reader.info.sample_rate
    item.n_samples = n_given + len(rest)
    if rest.size:
        yield rest


def _segments(
    key: str, channel: int, blocks: Iterator[np.ndarray], config: ConvertConfig
) -> Iterator[Item]:
    """Stretches of equal length; the rest is padded with zeros or dropped, as ``tail`` says."""
    length, step = config.segment_length, config.segment_step
    waiting: list[np.ndarray] = []
    number = 0
    for block in blocks:
        waiting.append(block.copy())
        if sum(each.size for each in waiting) < length:
            continue
        kept = np.concatenate(waiting)
        while kept.size >= length:
            yield _segment(key, channel, number, kept[:length], config)
            kept = kept[step:]
            number += 1
        waiting = [kept]
    kept = np.concatenate([np.empty(0, np.float32), *waiting])
    # what the segment before already holds is no rest
    overlap = length - step if number else 0
    if config.tail == "pad" and kept.size > overlap:
        padded = np.pad(kept, (0, length - kept.size))
        yield _segment(key, channel, number, padded, config)


def _segment(
    key: str, channel: int, number: int, samples: np.ndarray, config: ConvertConfig
) -> Item:
    return Item(
        f"{key}#s{number:05d}",
        channel,
        number * config.segment_step,
        lambda _: iter([samples]),
        Counted(samples.size),
    )
