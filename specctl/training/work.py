"""What a training that was stopped needs to go on: a folder beside the output."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from specctl.basis.file import BASIS
from specctl.durable import check_place, check_replaced, reported_os_errors, write_atomically
from specctl.errors import StoreError, TrainingError
from specctl.training.arms import Bench
from specctl.training.options import Options

_JOB = "job.json"
_HAS_EFFECTIVE_IDS = os.access in os.supports_effective_ids


def work_folder(output: Path) -> Path:
    """Where a training keeps what it needs to go on until it is done."""
    return output.with_name(output.name + ".work")


def check_output(output: Path, options: Options) -> Path:
    """The folder to work in; refuses to touch what is there and was not to be replaced.

    Raises
    ------
    StoreError
        If the folder cannot be written, or the output or what a stopped training left is there
        and the options do not say what to do with it, or the output is no basis file.
    """
    check_place(output)
    _check_writable(output.absolute().parent, "the basis")
    work = work_folder(output)
    if output.exists() and not options.overwrite:
        raise StoreError(f"{output} already exists; pass --overwrite to replace it")
    check_replaced(output, BASIS)
    if work.exists() and not (work / _JOB).exists():
        raise StoreError(f"{work} is in the way; it is no folder of a training")
    if work.exists() and not (options.resume or options.overwrite):
        raise StoreError(
            f"{work} holds a training that was stopped; pass --resume to go on with it, or "
            "--overwrite to begin again"
        )
    return work


def check_folder(folder: Path) -> None:
    """Refuse before the work a folder for figures that could not be made or written.

    Raises
    ------
    StoreError
        If it is a file, or the first folder above it that is there may not be written.
    """
    place = folder.absolute()
    with reported_os_errors(folder):
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            where = "it" if place == folder.absolute() else str(place)
            raise StoreError(f"cannot write {folder}: {where} is no folder")
    _check_writable(place, "the figures")


def _check_writable(folder: Path, what: str) -> None:
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=_HAS_EFFECTIVE_IDS):
        raise StoreError(f"cannot write in {folder}; give {what} another folder")


def claim_work(bench: Bench, options: Options) -> None:
    """Make the folder, or go on with that of the same job; refuse that of another.

    Raises
    ------
    TrainingError
        If the folder is of a training with other settings or other files.
    """
    identity = {
        "config": bench.config.to_dict(),
        "settings": bench.settings.to_dict(),
        "dataset": bench.clips.dataset_hash,
        "processes": bench.processes.n_ranks,
    }
    path = bench.work / _JOB
    if options.resume and path.exists():
        _check_same(path, json.loads(json.dumps(identity)))
    bench.processes.wait()
    if bench.processes.is_first:
        if bench.work.exists() and not options.resume:
            shutil.rmtree(bench.work)
        with reported_os_errors(bench.work):
            bench.work.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(identity).encode())
    bench.processes.wait()


def _check_same(path: Path, identity: dict[str, Any]) -> None:
    try:
        before = dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise TrainingError(f"{path} is damaged; train again with --overwrite") from error
    differing = [name for name in identity if before.get(name) != identity[name]]
    if differing:
        raise TrainingError(
            f"{path.parent} holds a training with another {' and '.join(differing)}; "
            "resume it as it was begun, or begin again with --overwrite"
        )
