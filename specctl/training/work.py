"""What a training that was stopped needs to go on: a folder beside the output.

``OUT.work/`` holds ``lock`` (flock), ``job.json`` (what is being trained), and the checkpoint or
the results of each training of the job. Without ``job.json``, which is the first to be written and
the first to be removed, there is nothing to go on with.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from specctl.basis.file import BASIS, load_basis
from specctl.durable import (
    check_place,
    check_replaced,
    check_writable,
    is_there,
    reported_os_errors,
    write_atomically,
)
from specctl.errors import BasisError, SpecctlError, StoreError, TrainingError
from specctl.locks import LOCK, check_unlocked, lock_folder, unlock_folder
from specctl.presence import exists, is_folder
from specctl.training.arms import Bench
from specctl.training.options import Options
from specctl.training.summary import UNNAMED_BASIS

_JOB = "job.json"
_OWN_NAME = re.compile(
    rf"{LOCK}|({re.escape(_JOB)}|{UNNAMED_BASIS}|run\d+-(fixed|trained)\.(checkpoint|done))"
    r"(\.tmp-\d+)?"
)
_FILES = "set of files or labels"
_WEIGHTS = "set of weights to begin with"
_MOST_NAMED = 4


def work_folder(output: Path) -> Path:
    """Where a training keeps what it needs to go on until it is done."""
    return output.with_name(output.name + ".work")


def check_output(output: Path, options: Options) -> Path:
    """The folder to work in; refuses to touch what is there and was not to be replaced.

    Raises
    ------
    StoreError
        If the folder cannot be written, another training is running there, or the output or what
        a stopped training left is there and the options do not say what to do with it, or the
        output is no basis file.
    """
    check_place(output)
    check_writable(output.absolute().parent, "the basis")
    work = work_folder(output)
    with reported_os_errors(work / LOCK):
        check_unlocked(work, _in_use(work))
    # whether an output is the one that is gone on with is not known yet
    _check_unclaimed(output, work, options, is_ours=options.resume and is_there(work / _JOB))
    return work


def is_result(output: Path, bench: Bench) -> bool:
    """Whether an output is what this very job has written, or would have."""
    if not is_there(output):
        return False
    try:
        metadata = load_basis(output).metadata
    except BasisError:
        return False
    there = (metadata.get("training"), metadata.get("dataset_hash"))
    return there == (json.loads(bench.settings.to_json()), bench.clips.dataset_hash)


def _check_unclaimed(output: Path, work: Path, options: Options, *, is_ours: bool) -> None:
    if not _is_ours(work):
        raise StoreError(f"{work} is in the way; it is no folder of a training")
    was_stopped = is_there(work / _JOB)
    # before --overwrite is spoken of, which would begin again what is all but done
    if was_stopped and not (options.resume or options.overwrite):
        raise StoreError(
            f"{work} holds a training that was stopped; pass --resume to go on with it, or "
            "--overwrite to begin again"
        )
    if is_there(output) and not (options.overwrite or is_ours):
        how = "--resume --overwrite to go on and" if was_stopped else "--overwrite to"
        raise StoreError(f"{output} already exists; pass {how} replace it")
    check_replaced(output, BASIS)


def _is_ours(work: Path) -> bool:
    """Whether there is no such folder, or a training made it, however early it was killed."""
    with reported_os_errors(work, "read"):
        if not exists(work) or exists(work / _JOB):
            return True
        return is_folder(work) and all(_OWN_NAME.fullmatch(path.name) for path in work.iterdir())


def check_folder(folder: Path) -> None:
    """Refuse before the work a folder for figures that could not be made or written.

    Raises
    ------
    StoreError
        If it is a file, or the first folder above it that is there may not be written.
    """
    place = folder.absolute()
    with reported_os_errors(folder):
        while not exists(place) and place != place.parent:
            place = place.parent
        if not is_folder(place):
            where = "it" if place == folder.absolute() else str(place)
            raise StoreError(f"cannot write {folder}: {where} is no folder")
    check_writable(place, "the figures")


@contextmanager
def claimed_work(bench: Bench, output: Path, options: Options) -> Iterator[None]:
    """Make the folder, or go on with that of the same job; refuse that of another.

    Until the end of the block it is locked by the first process.

    Raises
    ------
    StoreError
        If another training is running there, or has come there since `check_output`.
    TrainingError
        If the folder is of a training with other settings or other files.
    """
    # all processes have looked at what is there before one changes it
    bench.processes.wait()
    lock = None
    if bench.processes.is_first:
        with reported_os_errors(bench.work / LOCK):
            lock = lock_folder(bench.work, _in_use(bench.work))
    try:
        if lock is not None:
            _claim(bench, output, options)
        bench.processes.wait()
        yield
    finally:
        if lock is not None:
            unlock_folder(lock, bench.work)


def _claim(bench: Bench, output: Path, options: Options) -> None:
    identity = {
        "config": bench.config.to_dict(),
        "settings": bench.settings.to_dict(),
        "start": bench.start.fingerprint() if bench.start is not None else None,
        "dataset": bench.clips.dataset_hash,
        "processes": bench.processes.n_ranks,
    }
    path = bench.work / _JOB
    try:
        is_ours = options.resume and is_result(output, bench)
        _check_unclaimed(output, bench.work, options, is_ours=is_ours)
        if options.resume and is_there(path):
            _check_same(path, json.loads(json.dumps(identity)), options)
        else:
            _clear(bench.work)
        write_atomically(path, json.dumps(identity).encode())
    except SpecctlError:
        # made for the lock, perhaps; what somebody else has put there stays
        with suppress(OSError):
            if not exists(path):
                (bench.work / LOCK).unlink()
                bench.work.rmdir()
        raise


def _clear(work: Path) -> None:
    """Remove what trainings have made but the lock; the job first: nobody goes on with half."""
    with reported_os_errors(work, "remove"):
        for path in sorted(work.iterdir(), key=lambda path: path.name != _JOB):
            if _OWN_NAME.fullmatch(path.name) and path.name != LOCK:
                path.unlink()


def remove_work(work: Path) -> None:
    """Empty the folder of a training that needs it no more, as far as the disk lets it.

    What stays is in nobody's way. The folder itself goes with its lock.
    """
    with suppress(OSError, StoreError):
        _clear(work)
        (work / LOCK).unlink()


def _in_use(work: Path) -> Callable[[str], str]:
    return lambda holder: (
        f"another training is running in {work}: {holder or 'a process that is not known'}; "
        "wait for it or stop it"
    )


def _check_same(path: Path, identity: dict[str, Any], options: Options) -> None:
    """Refuse to go on with other settings or files; how often it is saved changes no number."""
    with reported_os_errors(path, "read"):
        data = path.read_bytes()
    try:
        before = dict(json.loads(data))
        there, here = _flat(before), _flat(identity)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise TrainingError(f"{path} is damaged; train again with --overwrite") from error
    differing = [name for name in {**here, **there} if there.get(name) != here.get(name)]
    if not differing:
        return
    named = [_difference(name, there, here) for name in differing[:_MOST_NAMED]]
    if len(differing) > _MOST_NAMED:
        named.append(f"{len(differing) - _MOST_NAMED} more")
    anew = "without --resume" if options.overwrite else "with --overwrite"
    raise TrainingError(
        f"{path.parent} holds a training with another {' and '.join(named)}; "
        f"resume it as it was begun, or begin again {anew}"
    )


def _flat(identity: dict[str, Any]) -> dict[str, Any]:
    """What makes a training another one, by the names that people give it."""
    settings = {**identity["settings"], **identity["config"]}
    settings.pop("checkpoint_every", None)
    return {
        _FILES: identity["dataset"],
        _WEIGHTS: identity.get("start"),
        "number of processes": identity["processes"],
        **settings,
    }


def _difference(name: str, there: dict[str, Any], here: dict[str, Any]) -> str:
    if name in (_FILES, _WEIGHTS):
        return name
    values = [
        ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for value in (there.get(name), here.get(name))
    ]
    return f"{name} (there {values[0]}, here {values[1]})"
