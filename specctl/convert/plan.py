"""What is to be done: every source, in parts that depend on the sources alone.

The plan is made once and kept in the working folder. It does not depend on the number of
workers, so that a store is the same array for array whoever makes it.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from specctl.audio.discover import Source
from specctl.audio.info import AudioInfo
from specctl.audio.names import local_path, shared_name
from specctl.convert.settings import ConvertConfig

_SMALLEST_PART = 16 * 2**20
_LARGEST_PART = 64 * 2**20
_PARTS_WANTED = 64
_SMALLEST_LAST_PART = 4 * 2**20
_LAST_PARTS = 2
"""A part is at most the one in so many of what is left."""

_MOST_SOURCES = 512
_BYTES_PER_SECOND = 32_000
"""Guess for a file whose header cannot be read: it costs about its size."""


@dataclass(frozen=True, slots=True)
class PlannedSource:
    """A file as it was found; ``seconds`` is what its header says, 0 if that is unknown.

    ``poison`` is why it must not be opened, empty for all but a few: reading its header killed or
    hung a process, or it could not even be looked at. ``failed_before`` is of a file that is as it
    was when it failed.
    """

    key: str
    path: str
    size: int
    mtime_ns: int
    sample_rate: int
    n_channels: int
    seconds: float
    label: str
    poison: str = ""
    failed_before: bool = False


_FIELDS = tuple(field.name for field in fields(PlannedSource))


@dataclass(frozen=True, slots=True)
class Plan:
    """Parts, each a run of sources, in the order of the store."""

    parts: tuple[tuple[PlannedSource, ...], ...]

    @property
    def sources(self) -> tuple[PlannedSource, ...]:
        """All sources of all parts."""
        return tuple(source for part in self.parts for source in part)

    def poisoned(self, reasons: Mapping[str, str]) -> Self:
        """The same plan, with the sources named in ``reasons`` not to be opened again."""
        if not reasons:
            return self
        return type(self)(
            tuple(
                tuple(
                    replace(source, poison=reasons.get(source.key, source.poison))
                    for source in part
                )
                for part in self.parts
            )
        )

    def to_json_lines(self) -> str:
        """One line for each source, the number of its part first."""
        return "".join(
            json.dumps([number, _values(source)]) + "\n"
            for number, part in enumerate(self.parts)
            for source in part
        )

    @classmethod
    def from_json_lines(cls, text: str) -> Self:
        """What `to_json_lines` wrote."""
        parts: list[list[PlannedSource]] = []
        for line in text.splitlines():
            number, fields = json.loads(line)
            while len(parts) <= number:
                parts.append([])
            source = PlannedSource(**fields)
            parts[number].append(replace(source, path=local_path(source.path)))
        return cls(tuple(tuple(part) for part in parts))


def _values(source: PlannedSource) -> dict[str, Any]:
    values = {name: getattr(source, name) for name in _FIELDS}
    return {**values, "path": shared_name(source.path)}


def planned(
    sources: Iterable[Source],
    infos: Mapping[str, AudioInfo | str],
    labels: Mapping[str, str],
    failed_before: Callable[[Source], bool] = lambda _: False,
) -> list[PlannedSource]:
    """Join what was found out about each source; ``infos`` holds a reason where probing failed."""
    result = []
    for source in sources:
        info = infos.get(source.key)
        known = info if isinstance(info, AudioInfo) else None
        n_samples = known.n_samples or 0 if known else 0
        result.append(
            PlannedSource(
                key=source.key,
                path=source.path,
                size=source.size,
                mtime_ns=source.mtime_ns,
                sample_rate=known.sample_rate if known else 0,
                n_channels=known.n_channels if known else 0,
                # a header may claim anything; no encoding packs 2**16 samples into a byte
                seconds=n_samples / known.sample_rate
                if known and n_samples <= source.size * 2**16
                else 0.0,
                label=labels.get(source.key, ""),
                poison=source.unseen,
                failed_before=failed_before(source),
            )
        )
    return result


def most_common_rate(sources: Iterable[PlannedSource]) -> int | None:
    """The sample rate that most files have; of equally common ones the highest."""
    counts = Counter(source.sample_rate for source in sources if source.sample_rate)
    return max(counts, key=lambda rate: (counts[rate], rate), default=None)


def stored_bytes(source: PlannedSource, config: ConvertConfig) -> int:
    """Bytes of the rows of a source before compression, as far as its header tells."""
    one = _n_samples(source, config) if config.segment is None else config.segment_length
    return n_items(source, config) * config.n_frames(one) * row_bytes(config)


def n_items(source: PlannedSource, config: ConvertConfig) -> int:
    """Items of a source, as far as its header tells."""
    n_channels = max(1, source.n_channels) if config.channels == "each" else 1
    if config.segment is None:
        return n_channels
    return n_channels * _n_segments(_n_samples(source, config), config)


def expected_seconds(source: PlannedSource) -> float:
    """What a header says, or a guess."""
    return source.seconds or source.size / _BYTES_PER_SECOND


def _n_samples(source: PlannedSource, config: ConvertConfig) -> int:
    """Samples of a channel at the store's rate."""
    return round(expected_seconds(source) * config.sample_rate)


def _n_segments(n_samples: int, config: ConvertConfig) -> int:
    """As `specctl.convert.items.items` divides a channel."""
    length, step = config.segment_length, config.segment_step
    n_whole = 0 if n_samples < length else 1 + (n_samples - length) // step
    n_held = length - step if n_whole else 0
    has_rest = n_samples - n_whole * step > n_held
    return n_whole + (config.tail == "pad" and has_rest)


def row_bytes(config: ConvertConfig) -> int:
    """Bytes of one stored frame."""
    width = {"float32": 4, "float16": 2, "int16": 2, "uint8": 1}[config.dtype]
    return width * config.n_bins * (2 if config.is_complex else 1)


def divide(sources: Sequence[PlannedSource], config: ConvertConfig) -> Plan:
    """Divide sources into parts of about equal cost, many enough to share out.

    A part is what is done again after a kill and what a worker takes at a time: seconds of
    work. A part ends on an HDF5 chunk, so parts are not made smaller than they need to be. The
    last ones become smaller and smaller, so that all workers end at about the same time.
    """
    costs = [stored_bytes(source, config) + source.size // 8 for source in sources]
    target = min(max(sum(costs) // _PARTS_WANTED, _SMALLEST_PART), _LARGEST_PART)
    parts: list[list[PlannedSource]] = []
    left, wanted, filled = sum(costs), 0, 0
    for source, cost in zip(sources, costs, strict=True):
        if filled >= wanted or len(parts[-1]) >= _MOST_SOURCES:
            parts.append([])
            wanted, filled = min(target, max(left // _LAST_PARTS, _SMALLEST_LAST_PART)), 0
        parts[-1].append(source)
        filled += cost
        left -= cost
    return Plan(tuple(tuple(part) for part in parts))


def found_rates(sources: Iterable[PlannedSource]) -> dict[int, int]:
    """How many files have each sample rate."""
    counts = Counter(source.sample_rate for source in sources if source.sample_rate)
    return dict(sorted(counts.items()))
