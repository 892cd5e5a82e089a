"""What passes between the parent, its workers and its next run: plain data."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from specctl.convert.plan import PlannedSource
from specctl.convert.settings import ConvertConfig


@dataclass(frozen=True, slots=True)
class Job:
    """A conversion that was begun, as ``job.json`` keeps it.

    ``replaced`` are sources of the store that an update makes anew, ``relabelled`` the labels of
    others that it changes, ``pruned`` those that it takes out, ``None`` if it is not to, and
    ``n_gone`` of those that are not there any more stay. ``repaired`` are the sources of a repair,
    ``None`` if it is none, and ``forgotten`` the items that it takes out.
    ``base`` is the job of the store that is updated. ``overwrite`` is what was asked for when it
    was begun, ``kernel`` what computes.
    """

    id: str
    version: str
    request: str
    config: Mapping[str, Any]
    update: bool
    replaced: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    rates: Mapping[str, int]
    n_unchanged: int
    n_unlabelled: int
    n_labels_unused: int
    patterns_unused: tuple[str, ...] = ()
    repaired: tuple[str, ...] | None = None
    forgotten: tuple[str, ...] = ()
    base: str = ""
    overwrite: bool = False
    kernel: str = ""
    relabelled: Mapping[str, str] = field(default_factory=dict)
    pruned: tuple[str, ...] | None = None
    n_gone: int = 0

    def changes_more(self, sources: Iterable[PlannedSource]) -> bool:
        """Whether the store would be another one even if all of its sources failed as before."""
        # of a folder that can be read again, none of the files may be new
        is_all = {source.key for source in sources}.issuperset(self.replaced)
        is_other = bool(self.relabelled or self.pruned)
        return self.repaired is not None or is_other or not is_all

    def to_json(self) -> str:
        """JSON that people may read."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` gave."""
        values = json.loads(text)
        if not isinstance(values["config"], dict):
            raise TypeError("config is no object")
        values["replaced"] = tuple(values["replaced"])
        values["patterns_unused"] = tuple(values.get("patterns_unused", ()))
        for name in ("repaired", "pruned"):
            keys = values.get(name)
            values[name] = None if keys is None else tuple(keys)
        values["forgotten"] = tuple(values.get("forgotten", ()))
        values["skipped"] = tuple((key, reason) for key, reason in values["skipped"])
        values["relabelled"] = dict(values.get("relabelled", {}))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Description:
    """What the parent needs to know of the transform, which only a worker imports.

    ``most_workers`` is how many there is room for, ``None`` where that is no matter.
    """

    devices: tuple[str, ...]
    kernel: str
    kernel_reason: str
    most_workers: int | None = None


@dataclass(frozen=True, slots=True)
class PartJob:
    """One part to convert.

    ``beats`` is where the signs of life go.
    ``vram_budget`` is in bytes, for the ``n_sharing`` workers of a device together.
    ``basis`` is the file of a trained one, checked against the config by whoever loads it.
    ``id`` is that of the job, which the part names as its own.
    ``one_at_a_time`` keeps sources from being packed, so that a death can be laid at a door.
    """

    number: int
    folder: str
    beats: str
    n_parts: int
    sources: tuple[PlannedSource, ...]
    config: ConvertConfig
    kernel: str
    vram_budget: int | None = None
    n_sharing: int = 1
    one_at_a_time: bool = False
    strict: bool = False
    basis: str | None = None
    allow_truncated: bool = False
    id: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a part.

    ``unread`` are those of the failures that nothing is known of: the system did not let them be
    read, memory was short, they changed meanwhile, or they ended or hung their worker.
    ``seconds`` are those of each stage, ``wall`` those of all until it was to be made durable.
    """

    number: int
    n_converted: int
    n_items: int
    n_resampled: int
    audio_seconds: float
    failures: tuple[tuple[str, str], ...]
    truncated: tuple[tuple[str, str], ...] = ()
    unread: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0


def part_path(folder: Path, number: int) -> Path:
    """Where a part lies in the working folder."""
    return folder / f"{number:06d}.part"
