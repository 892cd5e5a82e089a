"""The whole job behind ``specctl train-basis``."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from specctl.basis import load_basis
from specctl.basis.checks import is_state_dict
from specctl.basis.ordinary import read_basis
from specctl.basis.record import checked_metadata
from specctl.basis.state_dict import settings_of
from specctl.config import SpectrogramConfig
from specctl.eager import eager
from specctl.errors import BasisError, ParameterError, Stopped, TrainingError
from specctl.presets import preset as preset_settings
from specctl.training.arms import (
    ArmResult,
    Bench,
    ModelFactory,
    build_front_end,
    train_arm,
)
from specctl.training.augmenting import build_augmentations
from specctl.training.clips import Clips, most_common_rate
from specctl.training.cost import reported_memory
from specctl.training.labels import Labelled, find_labelled
from specctl.training.loop import Report
from specctl.training.models import check_model
from specctl.training.options import Options
from specctl.training.processes import joined_processes, local_device
from specctl.training.settings import TrainSettings
from specctl.training.splits import Split, draw_split
from specctl.training.summary import Summary, summarise, write_basis
from specctl.training.work import check_output, claimed_work, is_result, remove_work
from specctl.transforms.weights import INITS

_FRAME_SECONDS = 0.032
_N_MELS = 64


@eager
def train_basis(
    folder: Path | str,
    output: Path | str,
    *,
    labels: Path | str | None = None,
    group: str | None = None,
    preset: str | None = None,
    model: str | ModelFactory = "cnn",
    options: Options | None = None,
    report: Report = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    finish: Callable[[Summary], None] = lambda summary: None,
    **settings: Any,
) -> Summary:
    """Train the weights of a front end on labelled audio, and say whether it was worth it.

    Parameters
    ----------
    folder : Path
        Audio; without ``labels``, each folder in it is a class.
    output : Path
        Basis file to write. What is needed to go on after an interruption is kept beside it
        in ``{output}.work`` until the job is done.
    labels : Path, optional
        CSV with the columns path, label and where wanted split, group.
    group : str, optional
        Regular expression that finds the group in a file's key.
    preset : str, optional
        Settings of the spectrogram to begin with.
    model : str or callable
        ``"linear"``, ``"cnn"``, ``"resnet18"``, or what builds an ``nn.Module`` for ``n_bins``
        and ``n_classes``. It gets (batch, freq, time) and, if its ``forward`` takes a second
        argument, the valid frames of each clip, and gives logits.
    options : Options, optional
    report : callable
        Called with a dict for what is left out, as files are decoded, for copies among them, at
        each step and each epoch.
    should_stop : callable
        Asked after each step; then the state is saved.
    finish : callable
        Called, of several processes by the first, with what came of it: when the basis is there,
        and so is what is needed to go on. After an error of it the same call with ``resume``
        calls it again.
    **settings
        Fields of `TrainSettings` and of `SpectrogramConfig`. Unless given, the sample rate is
        that of most files, ``n_fft`` the largest power of two within 32 ms, ``n_mels`` 64. With
        a basis file to start from, its settings are the defaults.

    Raises
    ------
    ParameterError
        For a wrong setting, also where nothing would train.
    TrainingError
        If there is too little to learn from, or a training cannot go on.
    StoreError
        If ``output`` exists, or what a stopped training left, and the options do not say what
        to do with it.
    Stopped
        If it was asked to stop; with ``resume`` the same call goes on.
    """
    options = options or Options()
    if isinstance(model, torch.nn.Module):
        raise ParameterError(
            "model must be a name or what builds a module for n_bins and n_classes, got "
            f"a {type(model).__name__}; each training begins with one of its own"
        )
    factory = model if callable(model) else None
    name = getattr(model, "__name__", "custom") if callable(model) else model
    with joined_processes(options.device) as processes, reported_memory():
        training, spectrogram = _divide({**settings, "model": name})
        if training.init not in INITS and preset is None:
            spectrogram = {
                **_settings_of(training.init, spectrogram.get("feature")),
                **spectrogram,
            }
        device = local_device(options.device)
        _check(training, spectrogram, preset, options, device, factory)
        work = check_output(Path(output), options)
        limit_memory(options, device)
        left_out: list[tuple[str, str]] = []
        files = find_labelled(
            Path(folder),
            Path(labels) if labels is not None else None,
            group,
            lambda key, reason: left_out.append((key, reason)),
        )
        if left_out:
            report({"event": "left out", "files": left_out})
        config = _config(files, preset, spectrogram)
        clips = _decode(files, config, options, report, should_stop)
        if clips.copies:
            report({"event": "copies", "files": clips.copies})
        _check_classes(files, clips)
        names = tuple(sorted({file.label for file in clips.files}))
        bench = Bench(
            clips=clips,
            labels=[names.index(file.label) for file in clips.files],
            classes=names,
            config=config,
            settings=training,
            start=None if training.init in INITS else read_basis(training.init, config),
            device=device,
            processes=processes,
            work=work,
            report=report,
            should_stop=should_stop,
            model=factory,
        )
        return _train(bench, options, Path(output), finish)


def _train(
    bench: Bench, options: Options, output: Path, finish: Callable[[Summary], None]
) -> Summary:
    """All runs, and what they come to."""
    settings, n_files = bench.settings, len(bench.clips)
    _check_crop(bench)
    splits = [draw_split(bench.clips.files, bench.seed(run)) for run in range(settings.runs)]
    _check_shares(bench, splits)
    # what is known by now of what is written in the end
    checked_metadata({"classes": bench.classes, "training": settings.to_dict()})
    with claimed_work(bench, output, options):
        n_trained = bench.front_end("trained").n_trained
        start = {"event": "start", "n_trained": n_trained, "train": settings.train}
        start["config"] = bench.config.to_dict()
        sizes = tuple(split.sizes for split in splits)
        bench.report({**start, "classes": bench.classes, "n_files": n_files, "split_sizes": sizes})
        summary = summarise(bench, _train_all(bench, splits), sizes, output)
        if bench.processes.is_first:
            replaces = options.overwrite or (options.resume and is_result(output, bench))
            write_basis(bench, summary, overwrite=replaces)
            finish(summary)
            remove_work(bench.work)
        bench.processes.wait()
    return summary


def _divide(settings: Mapping[str, Any]) -> tuple[TrainSettings, dict[str, Any]]:
    known = TrainSettings.model_fields
    training = {name: value for name, value in settings.items() if name in known}
    rest = {name: value for name, value in settings.items() if name not in known}
    for name in rest:
        if name in Options.__dataclass_fields__:
            raise ParameterError(
                f"{name} is no setting of a training, pass options=specctl.training."
                f"Options({name}=...)"
            )
    return TrainSettings.resolve(**training), rest


def _settings_of(path: str, feature: str | None) -> dict[str, Any]:
    """The settings of the spectrogram that a basis file was made with."""
    if not os.path.exists(path):  # noqa: PTH110 - a name that is too long is not there either
        raise ParameterError(f"init must be {', '.join(INITS)} or a basis file, got {path!r}")
    try:
        if is_state_dict(path):
            return dict(settings_of(path, feature))
        return load_basis(path).config.given()
    except BasisError as error:
        raise ParameterError(str(error)) from error


def _check(
    settings: TrainSettings,
    spectrogram: Mapping[str, Any],
    preset: str | None,
    options: Options,
    device: torch.device,
    model: ModelFactory | None,
) -> None:
    """Whatever can be wrong before a file is opened."""
    # a rate that leaves room for the highest fmax; that of the files is not known yet
    given = {**spectrogram}
    if given.get("sample_rate") in (None, "auto"):
        highest = given.get("fmax")
        is_limit = isinstance(highest, (int, float)) and 0 < highest < math.inf
        given["sample_rate"] = 2 * math.floor(highest or 0) + 2 if is_limit else 48_000
    build_augmentations(settings.augment, 16_000)
    if model is None:
        check_model(settings.model)
    if settings.precision == "tf32" and device.type != "cuda":
        raise ParameterError(f"precision 'tf32' runs on cuda, not on {device.type}")
    if options.vram_budget is not None and device.type != "cuda":
        raise ParameterError(f"vram_budget has no effect on {device.type}")
    build_front_end(SpectrogramConfig.resolve(preset, **given), settings, "trained")


def limit_memory(options: Options, device: torch.device) -> None:
    """Let this process take no more device memory than its budget; then batches are halved."""
    if options.vram_budget is not None:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, options.vram_budget / total), device)


def _config(
    files: tuple[Labelled, ...], preset: str | None, given: Mapping[str, Any]
) -> SpectrogramConfig:
    """The spectrogram's settings, the sample rate that of most files unless given."""
    named = preset_settings(preset) if preset is not None else {}
    rate = given.get("sample_rate")
    values = {name: value for name, value in given.items() if name != "sample_rate"}
    if rate == "auto" or (rate is None and "sample_rate" not in named):
        rate = most_common_rate(files)
    if rate is not None:
        values["sample_rate"] = rate
    if preset is None and isinstance(rate, int):
        values = {**_light_settings(values, rate), **values}
    return SpectrogramConfig.resolve(preset, **values)


def _light_settings(given: Mapping[str, Any], sample_rate: int) -> dict[str, Any]:
    """Defaults that train in minutes: the work of a dense basis grows with n_fft times n_fft."""
    light: dict[str, Any] = {}
    if "win_length" not in given:
        light["n_fft"] = 2 ** max(4, int(math.log2(_FRAME_SECONDS * sample_rate)))
    if given.get("feature", "mel") == "mel":
        light["n_mels"] = _N_MELS
    return light


def _decode(
    files: tuple[Labelled, ...],
    config: SpectrogramConfig,
    options: Options,
    report: Report,
    should_stop: Callable[[], bool],
) -> Clips:
    def progress(n_done: int, n_total: int) -> None:
        report({"event": "decode", "n_done": n_done, "n_total": n_total})
        if should_stop():
            raise Stopped("stopped before the first step")

    return Clips(
        files,
        config.sample_rate,
        budget=options.cache_budget,
        progress=progress,
    )


def _check_classes(files: tuple[Labelled, ...], clips: Clips) -> None:
    """No class may vanish with files that cannot be decoded."""
    lost = {file.label for file in files} - {file.label for file in clips.files}
    if not lost:
        return
    name, reasons = min(lost), dict(clips.failures)
    key = next(file.source.key for file in files if file.label == name)
    raise TrainingError(
        f"class {name!r} has no file that can be read: {key}: {reasons[key]}; "
        "mend its files, or leave the class out"
    )


def _check_crop(bench: Bench) -> None:
    if bench.crop_length < 1 or bench.config.n_frames(bench.crop_length) < 1:
        raise ParameterError(
            f"crop must hold at least one frame of n_fft={bench.config.n_fft} samples, "
            f"got {bench.crop_length}"
        )


def _check_shares(bench: Bench, splits: Sequence[Split]) -> None:
    n_ranks = bench.processes.n_ranks
    smallest = min(bench.settings.batch_size, *(len(split.train) for split in splits))
    if smallest < n_ranks:
        raise ParameterError(
            f"batches must have a clip for each of {n_ranks} processes, they have {smallest}; "
            "give a larger batch_size or start fewer processes"
        )


def _train_all(bench: Bench, splits: Sequence[Split]) -> tuple[ArmResult, ...]:
    results = []
    for run, split in enumerate(splits):
        for arm in ("fixed", "trained") if bench.settings.verdict else ("trained",):
            results.append(train_arm(bench, run, arm, split))
            last = run + 1 == bench.settings.runs and arm == "trained"
            if bench.processes.any(bench.should_stop(), bench.device) and not last:
                raise Stopped(f"stopped after run {run + 1} {arm}")
    return tuple(results)
