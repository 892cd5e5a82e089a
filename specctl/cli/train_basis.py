"""``specctl train-basis``: the weights of a front end, trained on labelled audio."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from specctl.cli import options as o
from specctl.cli import train_options as t
from specctl.cli.app import (
    ExitCode,
    command,
    err,
    importing,
    print_line,
    reported_errors,
    say,
)
from specctl.cli.draw import printable
from specctl.cli.report import print_empty_bands
from specctl.cli.stopping import stoppable_training
from specctl.cli.train_progress import TrainProgress
from specctl.cores import usable_cores
from specctl.durable import HTML, JSON, check_distinct, check_place, check_replaced, is_there
from specctl.errors import OtherProcessError, ParameterError, SpecctlError, StoreError
from specctl.launch import read_launch
from specctl.presence import is_regular_file

if TYPE_CHECKING:
    from specctl.training import Summary

_Sink = Callable[[dict[str, Any]], None]

_PATIENCE_S = 10.0

_HELP = """Train the basis of a spectrogram on labelled audio, and say whether it was worth it.

The same model is trained with the basis fixed and trained, on the same files with the same \
seeds. What is written goes into specctl convert --basis.

Example: specctl train-basis labelled/ basis.safetensors --model linear --report report.html
"""
_TRAINING = (
    *("train", "init", "model", "epochs", "batch_size", "lr", "basis_lr", "crop", "augment"),
    *("runs", "seed", "precision", "verdict", "checkpoint_every"),
    *("keep_near", "unit_norm", "orthogonality"),
)
_SPECTROGRAM = (
    *("feature", "n_fft", "win_length", "hop_length", "window", "center", "pad_mode", "power"),
    *("n_mels", "fmin", "fmax", "mel_scale", "mel_norm", "n_mfcc", "lifter"),
    *("scale", "ref", "amin", "top_db", "sample_rate"),
)


@command("train-basis", help=_HELP)
def train_basis(  # one flag for each setting; they go on as one dict
    folder: t.Folder,
    output: t.Output,
    labels: t.Labels = None,
    group: t.Group = None,
    crop: t.Crop = None,
    augment: t.Augment = None,
    seed: t.Seed = None,
    train: t.Train = None,
    init: t.Init = None,
    model: t.Model = None,
    epochs: t.Epochs = None,
    batch_size: t.BatchSize = None,
    lr: t.LearningRate = None,
    basis_lr: t.BasisRate = None,
    keep_near: t.KeepNear = None,
    unit_norm: t.UnitNorm = None,
    orthogonality: t.Orthogonality = None,
    precision: t.ModelPrecision = None,
    runs: t.Runs = None,
    verdict: t.WithVerdict = None,
    device: t.Device = "auto",
    vram_budget: t.VramBudget = None,
    cache_budget: t.CacheBudget = None,
    checkpoint_every: t.CheckpointEvery = None,
    overwrite: t.Overwrite = False,
    resume: t.Resume = False,
    report: t.ReportFile = None,
    metrics: t.MetricsFile = None,
    tensorboard: t.TensorBoard = None,
    feature: o.FeatureName = None,
    preset: o.Preset = None,
    config: o.ConfigFile = None,
    n_fft: t.NFft = None,
    win_length: o.WinLength = None,
    hop_length: o.HopLength = None,
    window: o.WindowName = None,
    center: o.Center = None,
    pad_mode: o.PadModeName = None,
    power: o.Power = None,
    n_mels: t.NMels = None,
    fmin: o.FMin = None,
    fmax: o.FMax = None,
    mel_scale: o.MelScaleName = None,
    mel_norm: o.MelNormName = None,
    n_mfcc: o.NMfcc = None,
    lifter: o.Lifter = None,
    scale: o.ScaleName = None,
    ref: o.Ref = None,
    amin: o.AMin = None,
    top_db: o.TopDb = None,
    sample_rate: t.SampleRate = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Train the basis of a spectrogram on labelled audio."""
    flags = locals()
    with reported_errors():
        launch = read_launch()
    # of several processes one speaks and writes
    is_first = launch.is_first
    quiet = quiet or not is_first
    with _reported_once(speaks=launch.is_first_here):
        preset, settings = _settings(flags)
        _check_files(flags, settings)
    finished: list[Summary] = []

    def finish(summary: "Summary") -> None:
        finished.append(summary)
        if report is not None:
            _write_page(report, summary)

    with _reported_once():
        try:
            with ExitStack() as stack:
                bar = stack.enter_context(TrainProgress(err, quiet=quiet))
                should_stop = stack.enter_context(stoppable_training(bar.say))
                sinks: list[_Sink] = [bar, *(_sinks(flags, stack) if is_first else ())]
                # a preset or basis is as it is
                if not (quiet or preset or _init_file(settings.get("init"))):
                    sinks.append(_say_empty_bands)
                summary = _train(flags, preset, settings, sinks, should_stop, finish)
        finally:
            # also where its report cannot be written
            for each in finished:
                _print(each, as_json=json, quiet=quiet)
    if summary.failures:
        raise typer.Exit(ExitCode.SOME_FAILED)


@contextmanager
def _reported_once(*, speaks: bool = True) -> Iterator[None]:
    """`reported_errors`, but of several processes that fail only one has to say why.

    torchrun ends all of them when the first has ended: who is silent waits for that, or the one
    that speaks would be ended before it has spoken.
    """
    with reported_errors():
        try:
            yield
        except OtherProcessError as error:
            time.sleep(_PATIENCE_S)
            raise typer.Exit(ExitCode.FAILED) from error
        except SpecctlError:
            if not speaks:
                # whoever still lives then has met an error that the other has not
                time.sleep(_PATIENCE_S)
            raise


def _check_files(flags: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse what is written beside the basis where it would replace what it should not."""
    report, metrics, tensorboard = flags["report"], flags["metrics"], flags["tensorboard"]
    replaces = flags["overwrite"] or flags["resume"]
    if report is not None:
        check_place(report)
        if is_there(report) and not replaces:
            raise ParameterError(f"report must be a new file, {report} exists; pass --overwrite")
        check_replaced(report, HTML, "--report")
    # what is no regular file, such as a pipe, is written to, not replaced
    if metrics is not None and replaces and is_regular_file(metrics):
        check_replaced(metrics, JSON, "--metrics")
    check_distinct(
        {
            "output": flags["output"],
            "report": report,
            "metrics": metrics,
            "tensorboard": tensorboard,
        },
        {
            "labels": flags["labels"],
            "config": flags["config"],
            "init": _init_file(settings.get("init")),
        },
    )
    if any((report, metrics, tensorboard)):
        _check_outside(flags)


def _check_outside(flags: dict[str, Any]) -> None:
    """Nothing is written in the folder that is removed in the end, or below what is a file."""
    with importing():
        from specctl.training.work import check_folder, work_folder

    check_place(flags["output"])
    if flags["tensorboard"] is not None:
        check_folder(flags["tensorboard"])
    work = work_folder(flags["output"])
    names = ("report", "metrics", "tensorboard")
    places = {name: Path(os.path.realpath(flags[name])) for name in names if flags[name]}
    for name, path in places.items():
        if path.is_relative_to(os.path.realpath(work)):
            raise ParameterError(
                f"{name} must not be in {work}, which is removed in the end, got {flags[name]}"
            )
    for other in ("output", "report", "metrics"):
        file = os.path.realpath(flags[other]) if flags[other] else None
        if file and "tensorboard" in places and places["tensorboard"].is_relative_to(file):
            raise ParameterError(
                f"tensorboard must be a folder outside {other}, got {flags['tensorboard']}"
            )


def _init_file(init: object) -> Path | None:
    """The file that a training starts from, if it is one."""
    if not isinstance(init, str):
        return None
    with importing():
        from specctl.transforms.weights import INITS
    return Path(init) if init not in INITS else None


def _settings(flags: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Preset and settings, the flags over those of the file."""
    given = _settings_of_file(flags["config"]) if flags["config"] is not None else {}
    named = given.pop("preset", None)
    given.update(o.given_settings({name: flags[name] for name in _SPECTROGRAM}))
    given.update({name: flags[name] for name in _TRAINING if flags[name] is not None})
    if isinstance(given.get("train"), str):
        given["train"] = tuple(filter(None, given["train"].split(",")))
    return named if flags["preset"] is None else flags["preset"], given


def _settings_of_file(path: Path) -> dict[str, Any]:
    """What a file may set; the other parameters of a training are none of its settings."""
    from specctl.settings import check_known, read_settings

    given = read_settings(path)
    with importing():
        from specctl.config import SpectrogramConfig
        from specctl.training import TrainSettings
    others = given.keys() - {"preset", *TrainSettings.model_fields}
    check_known({name: given[name] for name in given if name in others}, SpectrogramConfig)
    return given


def _train(
    flags: dict[str, Any],
    preset: str | None,
    settings: dict[str, Any],
    sinks: list[_Sink],
    should_stop: Callable[[], bool],
    finish: "Callable[[Summary], None]",
) -> "Summary":
    with importing():
        import torch

        from specctl.training import Options, train_basis
        from specctl.training.options import CACHE_BUDGET

    # torch takes the cores that a container sees, and waits for those that it may not use
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))

    def tell(event: dict[str, Any]) -> None:
        for sink in sinks:
            sink(event)

    cache_budget = o.parse_size(flags["cache_budget"])
    return train_basis(
        flags["folder"],
        flags["output"],
        labels=flags["labels"],
        group=flags["group"],
        preset=preset,
        options=Options(
            device=flags["device"],
            overwrite=flags["overwrite"],
            resume=flags["resume"],
            vram_budget=o.parse_size(flags["vram_budget"]),
            cache_budget=CACHE_BUDGET if cache_budget is None else cache_budget,
        ),
        report=tell,
        should_stop=should_stop,
        finish=finish,
        **settings,
    )


def _write_page(report: Path, summary: "Summary") -> None:
    from specctl.training.page import write_page

    try:
        write_page(report, summary)
    except StoreError as error:
        raise StoreError(f"{error}; mend that and write it with --resume") from error


def _sinks(flags: dict[str, Any], stack: ExitStack) -> list[_Sink]:
    """What writes figures to files as they come."""
    from specctl.training.metrics import JsonLines, TensorBoardFolder

    sinks: list[_Sink] = []
    if flags["metrics"] is not None:
        lines = JsonLines(flags["metrics"], append=flags["resume"], overwrite=flags["overwrite"])
        sinks.append(stack.enter_context(lines))
    if flags["tensorboard"] is not None:
        sinks.append(stack.enter_context(TensorBoardFolder(flags["tensorboard"])))
    return sinks


def _say_empty_bands(event: dict[str, Any]) -> None:
    """Before the first step: what would be wrong with a training of hours."""
    if event["event"] != "start":
        return
    from specctl.config import SpectrogramConfig

    print_empty_bands(SpectrogramConfig.from_dict(event["config"]))


def _print(summary: "Summary", *, as_json: bool, quiet: bool) -> None:
    """The verdict on stdout, the rest on stderr."""
    for key, reason in summary.failures:
        say(f"failed: {printable(key)}: {reason}", style="red")
    kept = summary.kept.test
    if not quiet:
        say(
            f"{summary.output}: run {summary.kept_run + 1}, accuracy {kept['accuracy']:.3f}, "
            f"macro F1 {kept['macro_f1']:.3f} on files it has not seen"
        )
        if summary.verdict is not None:
            say(summary.verdict.cost)
    if as_json:
        from specctl.training.metrics import to_json

        print_line(to_json(summary.to_dict()))
    elif summary.verdict is not None:
        print_line(summary.verdict.sentence)
