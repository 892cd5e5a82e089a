"""What a training that was stopped needs to go on: a folder beside the output."""

import json
import shutil
from pathlib import Path
from typing import Any

from specctl.errors import ParameterError, StoreError, TrainingError
from specctl.store.durable import write_atomically
from specctl.training.arms import Bench
from specctl.training.options import Options
from specctl.training.processes import Processes


def open_work(output: Path, options: Options, processes: Processes) -> Path:
    """The folder of what is needed to go on."""
    work = output.with_name(output.name + ".work")
    if output.exists() and not options.overwrite:
        raise StoreError(f"{output} already exists; pass --overwrite to replace it")
    if work.exists() and not options.resume and not options.overwrite:
        raise StoreError(
            f"{work} holds a training that was stopped; pass --resume to go on with it, or "
            "--overwrite to begin again"
        )
    processes.wait()
    if processes.is_first:
        if work.exists() and options.overwrite:
            shutil.rmtree(work)
        try:
            work.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot write {work}: {error.strerror or error}") from error
    processes.wait()
    return work


def claim_work(bench: Bench) -> None:
    """Refuse to go on with what another job began."""
    identity = {
        "config": bench.config.to_dict(),
        "settings": bench.settings.to_dict(),
        "dataset": bench.clips.dataset_hash,
        "processes": bench.processes.n_ranks,
    }
    path = bench.work / "job.json"
    if path.exists():
        try:
            before = json.loads(path.read_bytes())
        except ValueError as error:
            raise TrainingError(f"{path} is damaged; train again with --overwrite") from error
        differing = [name for name in identity if before.get(name) != _plain(identity)[name]]
        if differing:
            raise TrainingError(
                f"{bench.work} holds a training with another {' and '.join(differing)}; "
                "resume it as it was begun, or begin again with --overwrite"
            )
    if bench.crop_length < 1 or bench.config.n_frames(bench.crop_length) < 1:
        raise ParameterError(
            f"crop must hold at least one frame of n_fft={bench.config.n_fft} samples, "
            f"got {bench.crop_length}"
        )
    bench.processes.wait()
    if bench.processes.is_first:
        write_atomically(path, json.dumps(identity).encode())


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain
