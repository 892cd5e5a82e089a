"""What came of a run: cells, ratios between them, JSON."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Literal

from specctl.bench.workload import Workload
from specctl.durable import write_atomically

Status = Literal["ok", "oom", "unsupported", "failed"]

SCHEMA = "specctl-bench/1"
BASELINES = {"ratio_to_torch_stft": "torch.stft", "ratio_to_nnaudio": "nnAudio"}
"""Ratio to the contender that it is taken against, in its float32."""


@dataclass
class Cell:
    """One contender on one workload.

    ``samples_s`` are seconds of one call, one for each round; ``keeps_contract`` is ``None`` where
    no error was measured. A cell that breaks the contract was not timed unless its precision
    is another than fp32.
    """

    contender: str
    precision: str
    workload: Workload
    equalised: str = ""
    status: Status = "ok"
    note: str = ""
    samples_s: list[float] = field(default_factory=list)
    n_calls: int = 1
    cores_busy: float | None = None
    peak_bytes: int | None = None
    peak_rss_bytes: int | None = None
    max_db_error: float | None = None
    max_db_error_by_level: Mapping[str, float] = field(default_factory=dict)
    keeps_contract: bool | None = None
    gradient_error: float | None = None
    gradient_cosine: float | None = None
    stages_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def median_s(self) -> float | None:
        """Seconds of one call."""
        return median(self.samples_s) if self.samples_s else None

    @property
    def spread_s(self) -> tuple[float, float] | None:
        """20th and 80th percentile."""
        if len(self.samples_s) < 2:
            return None
        fifths = quantiles(self.samples_s, n=5, method="inclusive")
        return fifths[0], fifths[3]

    @property
    def ns_per_frame(self) -> float | None:
        """Median time of one frame."""
        return None if self.median_s is None else 1e9 * self.median_s / self.workload.n_frames

    @property
    def x_real_time(self) -> float | None:
        """Seconds of audio in a second."""
        audio = self.workload.batch * self.workload.seconds
        return None if self.median_s is None else audio / self.median_s

    @property
    def is_own(self) -> bool:
        """Whether it is one of specctl's kernels."""
        return self.contender.startswith("specctl-")


@dataclass
class Report:
    """All cells of a run, the machine they come from, and what may be wrong with them."""

    date: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str | None]
    flags: Mapping[str, Any]
    settings: Mapping[str, Any]
    copy_bytes_per_s: dict[str, float] = field(default_factory=dict)  # by number of threads
    status: Literal["running", "complete", "stopped", "out of time"] = "running"
    elapsed_s: float = 0.0
    skipped: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)

    def workloads(self) -> list[Workload]:
        """Each workload once, in the order of the cells."""
        return list(dict.fromkeys(cell.workload for cell in self.cells))

    def of(self, workload: Workload) -> list[Cell]:
        """The cells of one workload."""
        return [cell for cell in self.cells if cell.workload == workload]

    def share_of_limit(self, cell: Cell) -> float | None:
        """Time that moving inputs and outputs alone would take, over the time it took."""
        speed = self.copy_bytes_per_s.get(str(cell.workload.threads))
        if speed is None or cell.median_s is None or cell.workload.work == "convert":
            return None
        return cell.workload.essential_bytes / speed / cell.median_s

    def ratio(self, cell: Cell, baseline: str) -> float | None:
        """How many times faster a cell is than ``baseline`` on the same workload.

        The median of the ratios within each round.
        """
        others = [
            other
            for other in self.of(cell.workload)
            if (other.contender, other.precision) == (baseline, "fp32") and other.samples_s
        ]
        if not others or not cell.samples_s:
            return None
        pairs = zip(others[0].samples_s, cell.samples_s, strict=False)
        return median(theirs / ours for theirs, ours in pairs)

    def best_ratios(self, baseline: str) -> dict[Workload, float | None]:
        """Ratio of specctl's fastest kernel for each workload where the baseline can take part."""
        best: dict[Workload, float | None] = {}
        for workload in self.workloads():
            if workload.work not in ("mel", "stft"):
                continue
            ratios = [self.ratio(cell, baseline) for cell in self.of(workload) if cell.is_own]
            best[workload] = max((each for each in ratios if each is not None), default=None)
        return best

    def broken(self) -> list[Cell]:
        """Kernels of specctl that break the contract or failed, at float32."""
        return [
            cell
            for cell in self.cells
            if cell.is_own
            and cell.precision == "fp32"
            and (cell.keeps_contract is False or cell.status == "failed")
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": SCHEMA,
            "date": self.date,
            "status": self.status,
            "elapsed_s": self.elapsed_s,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "flags": dict(self.flags),
            "settings": dict(self.settings),
            "copy_bytes_per_s": self.copy_bytes_per_s,
            "skipped": self.skipped,
            "doubts": self.doubts,
            "cells": [self._cell(cell) for cell in self.cells],
        }

    def _cell(self, cell: Cell) -> dict[str, Any]:
        low, high = cell.spread_s or (None, None)
        return {
            "contender": cell.contender,
            "precision": cell.precision,
            "workload": cell.workload.to_dict(),
            "equalised": cell.equalised,
            "status": cell.status,
            "note": cell.note,
            "samples_s": cell.samples_s,
            "calls_per_sample": cell.n_calls,
            "median_s": cell.median_s,
            "p20_s": low,
            "p80_s": high,
            "n_frames": cell.workload.n_frames,
            "ns_per_frame": cell.ns_per_frame,
            "x_real_time": cell.x_real_time,
            "cores_busy": cell.cores_busy,
            "share_of_limit": self.share_of_limit(cell),
            "peak_bytes": cell.peak_bytes,
            "peak_rss_bytes": cell.peak_rss_bytes,
            "max_db_error": cell.max_db_error,
            "max_db_error_by_level": dict(cell.max_db_error_by_level),
            "keeps_contract": cell.keeps_contract,
            "gradient_error": cell.gradient_error,
            "gradient_cosine": cell.gradient_cosine,
            "stages_s": dict(cell.stages_s),
            **{name: self.ratio(cell, other) for name, other in BASELINES.items()},
        }


def write_json(path: Path) -> Callable[[Report], None]:
    """What writes a report to ``path``, whole or not at all, each time it is called."""

    def write(report: Report) -> None:
        write_atomically(path, (json.dumps(report.to_dict(), indent=1) + "\n").encode())

    return write
