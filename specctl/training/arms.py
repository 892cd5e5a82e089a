"""The two trainings of a run: the basis fixed, and trained; everything else alike."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from specctl.basis import Basis
from specctl.config import SpectrogramConfig
from specctl.durable import is_there
from specctl.errors import ParameterError, TrainingError
from specctl.training.augmenting import build_augmentations
from specctl.training.batches import TrainBatches
from specctl.training.checkpoint import read_checkpoint, write_checkpoint
from specctl.training.clips import Clips
from specctl.training.cost import PeakMemory, median_ms
from specctl.training.evaluate import Scores, check_finite, evaluate
from specctl.training.loop import Report, Trainer
from specctl.training.models import build_model
from specctl.training.network import Network, kept_random_state
from specctl.training.processes import Processes
from specctl.training.settings import MOST_RUNS, TrainSettings
from specctl.training.splits import Split
from specctl.transforms import Transform
from specctl.transforms.weights import trainable_names

ArmName = Literal["fixed", "trained"]
ModelFactory = Callable[[int, int], nn.Module]
"""Builds a model for ``n_bins`` and ``n_classes``."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all trainings of a job have in common.

    ``start`` holds the weights to begin with where ``settings.init`` names a file, which may
    change meanwhile.
    """

    clips: Clips
    labels: Sequence[int]
    classes: tuple[str, ...]
    config: SpectrogramConfig
    settings: TrainSettings
    start: Basis | None
    device: torch.device
    processes: Processes
    work: Path
    report: Report
    should_stop: Callable[[], bool]
    model: ModelFactory | None = None

    @property
    def crop_length(self) -> int:
        """In samples."""
        return round(self.settings.crop * self.config.sample_rate)

    def front_end(self, arm: ArmName) -> Transform:
        """The front end of an arm as it begins."""
        return build_front_end(self.config, self.settings, arm, self.start)

    def seed(self, run: int) -> int:
        """Of a run; no two of two jobs are one, however near the seeds of these."""
        return self.settings.seed * MOST_RUNS + run


@dataclass(frozen=True, slots=True)
class ArmResult:
    """What came of one training.

    Attributes
    ----------
    run : int
    arm : {"fixed", "trained"}
    history : list of dict
        Figures of each epoch.
    validation_accuracy : float
        Of the state that was kept.
    test : dict
        ``accuracy``, ``macro_f1``, ``loss`` and ``confusion`` on files nothing was chosen by.
    ms_per_step, peak_memory_mb : float, optional
    weights : dict
        Trained weights of the front end by name.
    """

    run: int
    arm: ArmName
    history: list[dict[str, Any]]
    validation_accuracy: float
    test: dict[str, Any]
    ms_per_step: float | None
    peak_memory_mb: float | None
    weights: dict[str, torch.Tensor]

    def figures(self) -> dict[str, Any]:
        """What a verdict compares, and by how many files."""
        of_classes = [sum(row) for row in self.test["confusion"]]
        return {
            "accuracy": self.test["accuracy"],
            "macro_f1": self.test["macro_f1"],
            "n_test": sum(of_classes),
            "majority": max(of_classes) / sum(of_classes),
            "ms_per_step": self.ms_per_step,
            "peak_memory_mb": self.peak_memory_mb,
        }


def build_front_end(
    config: SpectrogramConfig, settings: TrainSettings, arm: ArmName, start: Basis | None = None
) -> Transform:
    """The front end of an arm; the fixed one is what `specctl.MelSpectrogram` gives untrained.

    Raises
    ------
    ParameterError
        If nothing of it would be trained, or it gives complex numbers.
    """
    if config.is_complex:
        raise ParameterError("feature must be real for a model to learn from, got 'complex'")
    if arm == "fixed":
        return Transform.from_config(config)
    front_end = Transform.from_config(
        config,
        trainable=settings.train,
        init=settings.init if start is None else start,
        seed=settings.seed,
    )
    if not any(each.requires_grad for each in front_end.parameters()):
        names = ", ".join(trainable_names(config))
        raise ParameterError(f"train must name at least one of {names}, got none")
    return front_end


def train_arm(bench: Bench, run: int, arm: ArmName, split: Split) -> ArmResult:
    """Train once, or read what an earlier call came to.

    Raises
    ------
    TrainingError
        If it cannot go on.
    Stopped
        If it was asked to stop; the same call goes on from there.
    """
    done = bench.work / f"run{run}-{arm}.done"
    if is_there(done):
        return _read_result(done)
    network = _network(bench, run, arm)
    checkpoint = bench.work / f"run{run}-{arm}.checkpoint"
    seed = bench.seed(run)
    trainer = Trainer(
        network,
        TrainBatches(
            bench.clips,
            split.train,
            bench.labels,
            crop_length=bench.crop_length,
            batch_size=bench.settings.batch_size,
            seed=seed,
        ),
        lambda most: _scores(bench, network, split.validation, most),
        bench.settings,
        checkpoint=checkpoint,
        seed=seed,
        processes=bench.processes,
        report=lambda event: bench.report({"run": run, "arm": arm, **event}),
        should_stop=bench.should_stop,
    )
    memory = PeakMemory(bench.device)
    trainer.run()
    test = _scores(bench, network, split.test, trainer.clips_at_once)
    check_finite(test, "test files")
    result = ArmResult(
        run=run,
        arm=arm,
        history=trainer.history,
        validation_accuracy=max(each["validation_accuracy"] for each in trainer.history),
        test=test.to_dict(),
        ms_per_step=median_ms(trainer.seconds),
        peak_memory_mb=memory.megabytes(),
        weights={
            name: value.detach().cpu() for name, value in network.front_end.named_parameters()
        },
    )
    if bench.processes.is_first:
        _write_result(done, result)
        # where it cannot be removed now, it is with the folder
        with suppress(OSError):
            checkpoint.unlink()
    bench.processes.wait()
    return result


def _network(bench: Bench, run: int, arm: ArmName) -> Network:
    """Both arms of a run begin with the same model."""
    front_end = bench.front_end(arm)
    n_bins, n_classes = bench.config.n_bins, len(bench.classes)
    with kept_random_state(bench.device):
        torch.manual_seed(bench.seed(run))
        if bench.model is not None:
            model = bench.model(n_bins, n_classes)
        else:
            model = build_model(bench.settings.model, n_bins, n_classes)
    return Network(
        front_end,
        model,
        build_augmentations(bench.settings.augment, bench.config.sample_rate),
        n_classes=n_classes,
        precision=bench.settings.precision,
    ).to(bench.device)


def _scores(bench: Bench, network: Network, chosen: Sequence[int], most_crops: int) -> Scores:
    return evaluate(
        network,
        bench.clips,
        chosen,
        bench.labels,
        crop_length=bench.crop_length,
        most_crops=most_crops,
        n_classes=len(bench.classes),
        processes=bench.processes,
    )


def _write_result(path: Path, result: ArmResult) -> None:
    values = {name: getattr(result, name) for name in ArmResult.__dataclass_fields__}
    write_checkpoint(path, {"step": len(result.history), **values})


def _read_result(path: Path) -> ArmResult:
    values = read_checkpoint(path)
    del values["step"]
    try:
        return ArmResult(**values)
    except TypeError as error:
        raise TrainingError(f"{path} is damaged; train again with --overwrite") from error
