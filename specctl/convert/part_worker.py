"""Converting the sources of one part: decode, compute, store, or a failure and nothing of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from specctl.audio import reasons
from specctl.audio.decode import AudioReader, open_audio
from specctl.audio.resample import resampled_length
from specctl.convert.beats import Beat
from specctl.convert.clock import Clock
from specctl.convert.compute import Computer, OutOfDeviceMemoryError
from specctl.convert.items import Counted, Item, items
from specctl.convert.jobs import PartJob, Receipt
from specctl.convert.memory import decoding_limited
from specctl.convert.plan import PlannedSource
from specctl.convert.tiles import TileMemory, tiles
from specctl.errors import AudioError, StoreError
from specctl.store.layout import FailureRecord
from specctl.store.part import PartWriter

_SHORT_SAMPLES = 2**20
"""A source of so many samples is one tile: 4 MiB."""

_HELD_SAMPLES = 2**24
"""Sources up to this many samples are held decoded until a pack is full; longer ones stream."""


_memory = TileMemory()


@dataclass(frozen=True, slots=True)
class _Tile:
    """A tile of an item on its way to the device."""

    item: Item
    padded: np.ndarray
    is_last: bool
    peak: float | None


@dataclass(slots=True)
class _File:
    """What the index says of a file, besides its items; the hash once all of it is decoded."""

    source: PlannedSource
    reader: AudioReader
    counted: Counted
    sha256: str = ""


@dataclass(slots=True)
class _Held:
    """Files in hand, and how many samples their tiles have in a pack."""

    files: list[tuple[_File, list[_Tile]]] = field(default_factory=list)
    n_samples: int = 0


class PartWorker:
    """The state of one part in the making."""

    def __init__(self, job: PartJob, writer: PartWriter, computer: Computer, beat: Beat) -> None:
        self._job = job
        self._config = job.config
        self._writer = writer
        self._computer = computer
        self._beat = beat
        self._pack_samples = 0 if job.one_at_a_time else computer.pack_samples
        self._clock = Clock()
        self._failures: list[tuple[str, str]] = []
        self._truncated: list[tuple[str, str]] = []
        self._unread: list[str] = []
        self._n_converted = self._n_resampled = 0
        self._audio_seconds = self._wall = 0.0

    def convert_all(self) -> None:
        """Every source in turn; on a GPU several at once, stored in the same order."""
        held = _Held()
        for number, source in enumerate(self._job.sources):
            self._beat.take(number)
            try:
                if source.poison:
                    raise AudioError(source.poison)
                with self._opened(source) as reader:
                    file = _File(source, reader, Counted())
                    tiles = self._tiles(reader, file)
                    decoded, is_all = _taken(tiles, 0 if self._streams(source) else _HELD_SAMPLES)
                    if not is_all:
                        self._store_held(held)
                        self._store(file, self._one_by_one(chain(decoded, tiles)))
                        continue
            except _EXPECTED as error:
                self._store_held(held)
                self._fail(source, error)
                continue
            self._hold(file, decoded, held)
        self._store_held(held)

    def _opened(self, source: PlannedSource) -> AudioReader:
        with self._clock.stage("decode"):
            return open_audio(
                source.path,
                allow_truncated=self._job.allow_truncated,
                hashed=True,
                guard=decoding_limited,
            )

    def finish(self) -> None:
        """Write what is left of the part; `publish` has still to be called."""
        extra = {
            "job": self._job.id,
            "n_converted": self._n_converted,
            "n_resampled": self._n_resampled,
            "audio_seconds": self._audio_seconds,
            "truncated": self._truncated,
            "unread": self._unread,
        }
        self._writer.finish(extra=extra)
        self._wall = self._clock.elapsed

    def publish(self) -> Receipt:
        """Give the part its name; it is durable when this returns."""
        self._writer.publish()
        seconds = self._clock.seconds
        for stage, spent in self._writer.seconds.items():
            seconds[stage] += spent
        return Receipt(
            number=self._job.number,
            n_converted=self._n_converted,
            n_resampled=self._n_resampled,
            n_items=self._writer.n_items,
            audio_seconds=self._audio_seconds,
            failures=tuple(self._failures),
            truncated=tuple(self._truncated),
            unread=tuple(self._unread),
            seconds=seconds,
            wall=self._wall,
        )

    def _streams(self, source: PlannedSource) -> bool:
        """Whether a source goes to the device tile by tile instead of in a pack."""
        n_samples = source.seconds * source.sample_rate * max(1, source.n_channels)
        return self._pack_samples == 0 or not 0 < n_samples <= _HELD_SAMPLES

    def _tiles(self, reader: AudioReader, file: _File) -> Iterator[_Tile]:
        """All tiles of all items of a file."""
        small = self._takes_small_tiles(file.source)
        key, beside = file.source.key, self._writer.path
        for item in items(reader, key, self._config, self._clock, file.counted, beside):
            pieces = self._pieces(item, small)
            peak = None
            first = next(pieces, None)
            if first is not None:
                pieces = chain([first], pieces)
                if self._config.needs_peak and not first[1]:
                    # the peak of a long item is known only after a pass of its own
                    peak = self._peak(pieces)
                    pieces = self._pieces(item, small)
            for padded, is_last in pieces:
                yield _Tile(item, padded, is_last, peak)
        with self._clock.stage("decode"):
            file.sha256 = reader.sha256()

    def _takes_small_tiles(self, source: PlannedSource) -> bool:
        """Whether memory is worth more than time: not for short sources, which take little.

        On a GPU large tiles are faster, and an item in one tile is not read twice for its peak.
        """
        is_short = 0 < source.seconds * self._config.sample_rate <= _SHORT_SAMPLES
        return not (is_short or self._computer.pack_samples or self._config.needs_peak)

    def _pieces(self, item: Item, small: bool) -> Iterator[tuple[np.ndarray, bool]]:
        """Padded stretches of an item from its start; each is a sign of life."""
        # in a pack tiles outlast each other
        memory = _memory if self._pack_samples == 0 else None
        for piece in tiles(item.blocks, self._config, small=small, memory=memory):
            self._beat.step()
            yield piece

    def _peak(self, pieces: Iterable[tuple[np.ndarray, bool]]) -> float | None:
        peak = None
        for padded, _ in pieces:
            with self._clock.stage("transform"):
                here = self._computer.peak(padded)
            peak = here if peak is None else max(peak, here)
        return peak

    def _one_by_one(self, decoded: Iterable[_Tile]) -> Iterator[tuple[_Tile, Any]]:
        for tile in decoded:
            with self._clock.stage("transform"):
                (spec,) = self._computer.spectra([tile.padded])
            yield tile, spec

    def _hold(self, file: _File, decoded: list[_Tile], held: _Held) -> None:
        """Take a source in hand, after those that leave no room for it in their pack."""
        hop = self._config.hop_length
        n_samples = sum(-(-len(tile.padded) // hop) * hop for tile in decoded)
        if held.n_samples + n_samples > self._room:
            self._store_held(held)
        held.files.append((file, decoded))
        held.n_samples += n_samples
        if held.n_samples >= self._room:
            self._store_held(held)

    @property
    def _room(self) -> int:
        """Samples of a pack; fewer once memory was short."""
        return min(self._pack_samples, self._computer.pack_samples)

    def _store_held(self, held: _Held) -> None:
        """Compute all sources in hand in one go, store them one after another, let them go."""
        # first: whoever stops at one of them stops once
        files, held.files, held.n_samples = held.files, [], 0
        padded = [tile.padded for _, decoded in files for tile in decoded]
        try:
            with self._clock.stage("transform"):
                spectra = iter(self._computer.spectra(padded) if padded else [])
        except OutOfDeviceMemoryError:
            # even one tile of one of them is too much: the others can do without a pack
            spectra = None
        for file, decoded in files:
            try:
                if spectra is None:
                    self._store(file, self._one_by_one(decoded))
                else:
                    self._store(file, [(tile, next(spectra)) for tile in decoded])
            except _EXPECTED as error:
                self._fail(file.source, error)

    def _store(self, file: _File, spectra: Iterable[tuple[_Tile, Any]]) -> None:
        """Write all items of a file, or raise; the caller then discards them."""
        self._writer.begin_source()
        n_items, is_first = 0, True
        for tile, spec in spectra:
            with self._clock.stage("transform"):
                rows = self._computer.rows(spec, tile.peak, is_first)
            is_first = tile.is_last
            self._writer.append(rows)
            self._beat.step()
            if tile.is_last:
                self._end_item(file, tile.item)
                n_items += 1
        if n_items == 0:
            raise AudioError(self._why_nothing(file))
        self._writer.end_source(sha256=file.sha256, truncated=bool(file.reader.cut))
        if file.reader.cut:
            self._truncated.append((file.source.key, file.reader.cut))
        self._n_converted += 1
        self._n_resampled += file.reader.info.sample_rate != self._config.sample_rate
        self._audio_seconds += file.counted.seconds
        self._beat.done(failed=False, seconds=file.counted.seconds)

    def _end_item(self, file: _File, item: Item) -> None:
        self._writer.end_item(
            key=item.key,
            source=file.source.key,
            sample_rate=file.reader.info.sample_rate,
            n_samples=item.counted.n_samples,
            channel=item.channel,
            offset=item.offset,
            label=file.source.label,
            size=file.reader.size,
            mtime_ns=file.reader.mtime_ns,
        )

    def _fail(self, source: PlannedSource, error: Exception) -> None:
        """Count a source out; a fault of the disk that is written to is no fault of a source."""
        if isinstance(error, StoreError) and isinstance(error.__cause__, OSError):
            raise error
        reason = str(error) or "not enough memory"
        if self._job.strict:
            raise AudioError(f"cannot convert {source.key}: {reason}") from error
        self._writer.discard_source()
        self._failures.append((source.key, reason))
        if source.poison or _says_nothing(error):
            self._unread.append(source.key)
        self._writer.fail(
            FailureRecord(
                key=source.key, reason=reason, size=source.size, mtime_ns=source.mtime_ns
            )
        )
        self._beat.done(failed=True, seconds=0.0)

    def _why_nothing(self, file: _File) -> str:
        if file.counted.n_samples == 0:
            return "no samples"
        if self._config.segment is not None:
            length = f"{self._config.segment:g} s"
            return f"shorter than a segment of {length}; convert with tail pad to keep it"
        rates = file.reader.info.sample_rate, self._config.sample_rate
        n_samples = resampled_length(file.counted.n_samples, *rates)
        rate = f" at {rates[1]} Hz" if rates[0] != rates[1] else ""
        samples = f"1 sample{rate} is" if n_samples == 1 else f"{n_samples} samples{rate} are"
        return f"{samples} fewer than n_fft={self._config.n_fft}; convert with centred frames"


def _says_nothing(error: Exception) -> bool:
    """Whether a failure tells of the system, and not of what is in the file."""
    of_system = (OSError, MemoryError)
    is_from_system = isinstance(error, of_system) or isinstance(error.__cause__, of_system)
    return is_from_system or str(error) == reasons.CHANGED


def _taken(tiles: Iterator[_Tile], most: int) -> tuple[list[_Tile], bool]:
    """Tiles of a file up to so many samples, and whether that is all: headers may be wrong."""
    taken: list[_Tile] = []
    n_samples = 0
    while n_samples < most:
        tile = next(tiles, None)
        if tile is None:
            return taken, True
        taken.append(tile)
        n_samples += len(tile.padded)
    return taken, False


_EXPECTED = (AudioError, StoreError, MemoryError)
"""What a file may do to its own conversion; anything else is a bug and ends the part."""
