"""What came of a conversion, and how far one is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["converted", "updated", "complete"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a conversion is; ``stage`` is ``"reading headers"``, ``"converting"`` …"""

    stage: str
    n_done: int
    n_total: int
    n_failed: int = 0
    audio_seconds: float = 0.0
    total_audio_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a conversion.

    ``n_found`` is ``n_converted + n_failed + n_skipped + n_unchanged``, always; ``truncated``
    are those of the converted ones that are cut short, or may be; ``n_relabelled`` of the
    unchanged ones have got another label. ``n_labels_unused`` labels are for files that were not
    found, ``patterns_unused`` are of none; ``n_since`` files came after a conversion was begun
    that was gone on with, and are not in it; ``n_failed_before`` files of a store that is complete
    failed when it was made. An update takes out the ``pruned`` ones; ``n_gone`` others, of which
    the store has items, are not there any more, and stay. ``seconds`` holds the time that each
    stage took, summed over workers, and as ``total``, ``startup`` and ``merge`` wall time of the
    whole, until all workers were ready, and of joining the parts.
    """

    store: Path
    status: Status
    n_found: int = 0
    n_converted: int = 0
    n_failed: int = 0
    n_skipped: int = 0
    n_unchanged: int = 0
    n_relabelled: int = 0
    n_truncated: int = 0
    n_resampled: int = 0
    n_resumed: int = 0
    n_items: int = 0
    n_frames: int = 0
    n_bytes: int = 0
    n_unlabelled: int = 0
    n_labels_unused: int = 0
    n_since: int = 0
    n_gone: int = 0
    n_failed_before: int = 0
    sample_rate: int = 0
    audio_seconds: float = 0.0
    workers: int = 0
    devices: tuple[str, ...] = ()
    kernel: str = ""
    kernel_reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[tuple[str, str], ...] = ()
    truncated: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    patterns_unused: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()

    @property
    def bottleneck(self) -> str:
        """The stage that took most of the workers' time."""
        stages = {
            name: spent
            for name, spent in self.seconds.items()
            if name not in ("total", "startup", "merge")
        }
        return max(stages, key=lambda name: stages[name], default="")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        values["store"] = str(self.store)
        values["bottleneck"] = self.bottleneck
        return values


@dataclass(frozen=True, slots=True)
class Estimate:
    """What ``--dry-run`` tells: nothing was converted for good.

    ``n_unchanged`` of the files found are in the store already; hours, bytes, seconds and rates
    are those of the others. ``n_relabelled`` of the unchanged ones get another label;
    ``n_unlabelled`` have none, and ``n_labels_unused`` are for files that were not found. Of
    ``n_pruned`` files that are not there any more what the store has goes, of ``n_gone`` it stays.
    ``n_unreadable`` and ``n_too_short`` of the others will fail, the latter as they give no frame
    or no segment. Of a conversion that was begun, ``n_parts_done`` of ``n_parts`` are done;
    ``seconds`` are those of the rest, and ``n_since`` files came later and are not in it.
    ``patterns_unused`` are of no file. Parts and store need
    ``needed_bytes`` of the ``free_bytes`` that the disk has, ``None`` without a store.
    """

    n_found: int
    sample_rate: int
    n_skipped: int = 0
    n_unchanged: int = 0
    n_relabelled: int = 0
    n_unlabelled: int = 0
    n_labels_unused: int = 0
    n_since: int = 0
    n_gone: int = 0
    n_pruned: int = 0
    n_unreadable: int = 0
    n_too_short: int = 0
    audio_hours: float = 0.0
    n_bytes: int = 0
    seconds: float = 0.0
    rates: Mapping[str, int] = field(default_factory=dict)
    n_resampled: int = 0
    n_parts: int = 0
    n_parts_done: int = 0
    patterns_unused: tuple[str, ...] = ()
    needed_bytes: int = 0
    free_bytes: int | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether the store has all that was found, as it is."""
        is_known = self.n_found == self.n_unchanged + self.n_skipped
        return is_known and not (self.n_relabelled or self.n_pruned)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
