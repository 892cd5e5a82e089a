"""What came of a training job, and the basis that is written."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from specctl.basis.file import BASIS, check_absent
from specctl.config import SpectrogramConfig
from specctl.durable import publish
from specctl.training.arms import ArmResult, Bench
from specctl.training.drift import Drift, change_of_bands, drift
from specctl.training.settings import TrainSettings
from specctl.training.verdict import Verdict, judge
from specctl.transforms import Transform
from specctl.version import __version__

UNNAMED_BASIS = "basis"
"""The basis until it gets its name, in the folder of the training."""
_ROWS = {"basis", "window", "frequencies"}
"""Weights that the rows of the basis are made of."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a job.

    Attributes
    ----------
    output : Path
    classes : tuple of str
    n_files : int
    split_sizes : tuple of dict
        Files to train, to validate and to test with, for each run.
    failures : tuple of (str, str)
        Key and reason of files that could not be decoded.
    copies : tuple of (str, str)
        Key of each file with the bytes of one before it, and of which.
    n_trained : int
        Numbers of the front end that were trained.
    config : SpectrogramConfig
    settings : TrainSettings
    results : tuple of ArmResult
    kept_run : int
        Whose basis was written: the best one on its validation files.
    verdict : Verdict, optional
    drift : Drift, optional
        Of the basis that was written; None where its rows were not trained.
    start, trained : Tensor, shape (2 * n_freqs, n_fft)
        The basis as it began and as it was written.
    bands : tuple of Tensor, optional
        Bands that were trained, each (n_mels, n_freqs): as they began and as they were written.
    dataset_hash : str
    """

    output: Path
    classes: tuple[str, ...]
    n_files: int
    split_sizes: tuple[dict[str, int], ...]
    failures: tuple[tuple[str, str], ...]
    copies: tuple[tuple[str, str], ...]
    n_trained: int
    config: SpectrogramConfig
    settings: TrainSettings
    results: tuple[ArmResult, ...]
    kept_run: int
    verdict: Verdict | None
    drift: Drift | None
    start: torch.Tensor = field(repr=False)
    trained: torch.Tensor = field(repr=False)
    bands: tuple[torch.Tensor, torch.Tensor] | None = field(repr=False)
    dataset_hash: str

    @property
    def kept(self) -> ArmResult:
        """The training whose basis was written."""
        return next(
            each for each in self.results if each.arm == "trained" and each.run == self.kept_run
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; weights are left out."""
        return {
            "output": str(self.output),
            "classes": list(self.classes),
            "n_files": self.n_files,
            "split_sizes": list(self.split_sizes),
            "failures": [list(failure) for failure in self.failures],
            "copies": [list(copy) for copy in self.copies],
            "n_trained": self.n_trained,
            "kept_run": self.kept_run,
            "verdict": self.verdict.to_dict() if self.verdict is not None else None,
            "runs": [
                {"run": each.run, "arm": each.arm, "test": each.test, **each.figures()}
                for each in self.results
            ],
            "config": self.config.to_dict(),
            "settings": self.settings.to_dict(),
            "dataset_hash": self.dataset_hash,
        }


def summarise(
    bench: Bench,
    results: tuple[ArmResult, ...],
    split_sizes: tuple[dict[str, int], ...],
    output: Path,
) -> Summary:
    """Everything that is to be known of the trainings of a job."""
    trained = [result for result in results if result.arm == "trained"]
    fixed = [result for result in results if result.arm == "fixed"]
    moves = [_movement(bench, result) for result in trained]
    best = max(trained, key=lambda result: (result.validation_accuracy, -result.run))
    verdict = None
    if fixed:
        verdict = judge(
            [result.figures() for result in fixed],
            [result.figures() for result in trained],
            _median(None if each.drift is None else each.drift.median_angle for each in moves),
            None if bench.settings.init == "fourier" else _fixed_front_end(bench.config),
            redrawn=_redrawn(bench, split_sizes),
            change_of_bands=_median(
                None if each.bands is None else change_of_bands(*each.bands[::-1])
                for each in moves
            ),
            names=bench.settings.train,
        )
    moved = moves[best.run]
    return Summary(
        output=output,
        classes=bench.classes,
        n_files=len(bench.clips),
        split_sizes=split_sizes,
        failures=bench.clips.failures,
        copies=bench.clips.copies,
        n_trained=bench.front_end("trained").n_trained,
        config=bench.config,
        settings=bench.settings,
        results=results,
        kept_run=best.run,
        verdict=verdict,
        drift=moved.drift,
        start=moved.start,
        trained=moved.end,
        bands=moved.bands,
        dataset_hash=bench.clips.dataset_hash,
    )


def _redrawn(bench: Bench, split_sizes: tuple[dict[str, int], ...]) -> float:
    """Test files over training files, where the runs draw them; 0 where they are given."""
    if any(file.split for file in bench.clips.files):
        return 0.0
    return statistics.fmean(sizes["test"] / sizes["train"] for sizes in split_sizes)


def _fixed_front_end(config: SpectrogramConfig) -> str:
    bands = {"slaney": ", Slaney bands", "htk": ", HTK bands", None: ""}[config.mel_scale]
    return f"Fourier basis{bands}"


def _front_end_of(bench: Bench, result: ArmResult) -> Transform:
    front_end = bench.front_end("trained")
    front_end.load_state_dict(result.weights, strict=False)
    return front_end


class _Movement(NamedTuple):
    """How far a run moved what it trained; ``bands`` are those at the start and at the end."""

    start: torch.Tensor
    end: torch.Tensor
    drift: Drift | None
    bands: tuple[torch.Tensor, torch.Tensor] | None


def _movement(bench: Bench, result: ArmResult) -> _Movement:
    train = bench.settings.train
    ends = (bench.front_end("trained").to_basis(), _front_end_of(bench, result).to_basis())
    start, end = (torch.from_numpy(each.basis) for each in ends)
    bands = [torch.from_numpy(each.mel) for each in ends if each.mel is not None]
    return _Movement(
        start,
        end,
        drift(end, start, bench.config.sample_rate) if _ROWS & set(train) else None,
        (bands[0], bands[1]) if "mel" in train else None,
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def write_basis(bench: Bench, summary: Summary, *, overwrite: bool) -> None:
    """Write the basis file; what it was trained on and what came of it stand in its metadata.

    Half of one lies in the folder of the training only.
    """
    check_absent(summary.output, BASIS, overwrite=overwrite)
    written = bench.work / UNNAMED_BASIS
    best = summary.kept
    front_end = _front_end_of(bench, best)
    front_end.save_basis(
        written,
        overwrite=True,
        classes=list(summary.classes),
        training=summary.settings.to_dict(),
        dataset_hash=summary.dataset_hash,
        accuracy=best.test["accuracy"],
        verdict=summary.verdict.to_dict() if summary.verdict is not None else None,
        versions={"specctl": __version__, "torch": torch.__version__},
    )
    publish(written, summary.output)
