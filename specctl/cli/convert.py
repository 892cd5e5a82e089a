"""``specctl convert``: a folder of audio becomes one spectrogram store."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from specctl.cli import options as o
from specctl.cli.app import ExitCode, command, err, importing, reported_errors
from specctl.cli.progress import ConvertProgress
from specctl.cli.report import (
    print_empty_bands,
    print_estimate,
    print_summary,
    print_unused_patterns,
)
from specctl.cli.stopping import stoppable
from specctl.convert.early import begin_workers
from specctl.errors import BasisError, ParameterError

_HELP = """Convert audio files to one HDF5 spectrogram store.

The same command again finishes what a kill or Ctrl-C left; on a finished store it does nothing. \
A file that cannot be read is recorded with its reason and costs itself alone (exit code 3).

Example: specctl convert recordings/ out.h5 --preset speech-16k --labels folder
"""

_DESCRIPTORS = ("/dev", "/dev/fd", "/proc/self/fd")
"""Where files that are open already have names."""


@command("convert", help=_HELP)
def convert(  # one flag for each setting; they go on as one dict
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SOURCE... STORE",
            help="Audio files and folders, then the store to create.",
            parser=o.given_path,
        ),
    ] = None,
    feature: o.FeatureName = None,
    preset: o.Preset = None,
    config: o.ConfigFile = None,
    n_fft: o.NFft = None,
    win_length: o.WinLength = None,
    hop_length: o.HopLength = None,
    window: o.WindowName = None,
    center: o.Center = None,
    pad_mode: o.PadModeName = None,
    power: o.Power = None,
    n_mels: o.NMels = None,
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
    basis: o.BasisFile = None,
    kernel: o.Kernel = "auto",
    precision: o.PrecisionName = None,
    sample_rate: o.SampleRate = None,
    channels: o.ChannelsName = None,
    segment: o.Segment = None,
    overlap: o.Overlap = None,
    tail: o.TailName = None,
    files_from: o.FilesFrom = None,
    include: o.Include = None,
    exclude: o.Exclude = None,
    labels: o.Labels = None,
    allow_truncated: o.AllowTruncated = False,
    dtype: o.StoredTypeName = None,
    compression: o.CompressionName = None,
    overwrite: o.Overwrite = False,
    update: o.Update = False,
    prune: o.Prune = False,
    device: o.Device = "auto",
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    vram_budget: o.VramBudget = None,
    timeout: o.Timeout = 60.0,
    max_failures: o.MaxFailures = 100,
    strict: o.Strict = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Convert audio files to one HDF5 spectrogram store."""
    flags = locals()
    with reported_errors(), _basis_as_setting():
        if workers != 0 and scheduler is None:
            begin_workers(device, kernel, precision, basis, power)
        with importing():
            from specctl.audio.names import shared_name
            from specctl.convert import Options, convert_audio, estimate_conversion
            from specctl.convert.settings import ConvertConfig, GivenSettings

        names = set(ConvertConfig.model_fields) - {"basis"}
        preset, given = _given(flags, names)
        places = _places(paths or [], files_from, dry_run)
        options = Options(
            include=tuple(map(shared_name, include or ())),
            exclude=tuple(map(shared_name, exclude or ())),
            labels=labels if labels in (None, "folder") else Path(labels),
            device=device,
            kernel=kernel,
            basis=str(basis) if basis is not None else None,
            workers=workers,
            scheduler=scheduler,
            vram_budget=o.parse_size(vram_budget),
            overwrite=overwrite,
            update=update,
            prune=prune,
            strict=strict,
            max_failures=max_failures,
            timeout=timeout,
            allow_truncated=allow_truncated,
        )
        with ConvertProgress(err, quiet=quiet) as bar, stoppable(bar) as control:
            run: Any = {"preset": preset, "options": options, "progress": bar, "control": control}
            if dry_run:
                estimate = estimate_conversion(**places, **run, **given)
                is_done, rate = estimate.is_nothing, estimate.sample_rate
                unused = estimate.patterns_unused
            else:
                summary = convert_audio(**places, **run, **given)
                is_done, rate = summary.status == "complete", summary.sample_rate
                unused = summary.patterns_unused
        # a preset or basis is as it is
        if not (is_done or quiet or preset or basis):
            print_empty_bands(GivenSettings(given).resolve(rate).spectrogram)
        if not quiet:
            print_unused_patterns(unused)
        if dry_run:
            print_estimate(estimate, as_json=json)
            return
        print_summary(
            summary, as_json=json, quiet=quiet, verbose=verbose, allow_truncated=allow_truncated
        )
    if summary.n_failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


@contextmanager
def _basis_as_setting() -> Iterator[None]:
    """A basis that cannot be read is a wrong setting, as a file of settings or labels is."""
    try:
        yield
    except BasisError as error:
        raise ParameterError(str(error)) from error


def _given(flags: dict[str, Any], names: set[str]) -> tuple[str | None, dict[str, Any]]:
    """Preset and settings, which have these names, the flags over those of the file."""
    from specctl.convert.settings import ConvertConfig
    from specctl.settings import check_known, read_settings

    preset, config = flags["preset"], flags["config"]
    given = read_settings(config) if config is not None else {}
    named = given.pop("preset", None)
    for name in given:
        if name in flags.keys() - names - {"paths"}:
            flag = f"--{name.replace('_', '-')}"
            raise ParameterError(
                f"{name} is no setting of the spectrograms: {config}; pass {flag}"
            )
    check_known(given, ConvertConfig)
    settings = {name: flags[name] for name in sorted(names)}
    return named if preset is None else preset, {**given, **o.given_settings(settings)}


def _places(paths: list[Path], files_from: Path | None, dry_run: bool) -> dict[str, Any]:
    """What to convert and the store, which is the last path; a dry run can do without one."""
    has_both = len(paths) > 1 or bool(paths and files_from)
    if dry_run:
        from specctl.convert.stored import may_be_store

        if not (has_both and may_be_store(paths[-1])):
            return {"sources": paths + _listed(files_from)}
    if not has_both:
        got = "one path" if paths else "none" if files_from is None else "--files-from alone"
        raise ParameterError(f"SOURCE and STORE must both be given, got {got}")
    *sources, store = paths
    return {"sources": sources + _listed(files_from), "store": store}


def _listed(files_from: Path | None) -> list[Path]:
    """The files that a list names, if there is one; relative to its folder, if it has one."""
    if files_from is None:
        return []
    from specctl.audio.discover import read_file_list
    from specctl.given_files import MAX_TABLE_BYTES, check_given_or_pipe

    if files_from == Path("-"):
        # none at all where it was closed
        return read_file_list(sys.stdin.buffer.read() if sys.stdin else b"", Path.cwd())
    check_given_or_pipe(files_from, "file list", MAX_TABLE_BYTES)
    try:
        listed = files_from.read_bytes()
    except OSError as error:
        raise ParameterError(f"cannot read {files_from}: {error.strerror}") from error
    place = files_from.absolute().parent
    # a pipe has no folder, nor has what was opened by the shell
    is_stream = files_from.is_fifo() or str(place) in _DESCRIPTORS
    return read_file_list(listed, Path.cwd() if is_stream else place)
