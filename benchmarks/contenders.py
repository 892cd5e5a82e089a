"""Who takes part: specctl, its peers, and the floor that decoding sets."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from job import Job, Timing
from peers import run_lhotse, run_librosa, run_nnaudio, run_torch

INSTALL = "pip install -c constraints.txt -e '.[peers]'"


def _sum_of_samples(path: Path) -> float:
    import soundfile

    return float(soundfile.read(path, dtype="float32")[0].sum())


def run_decode(job: Job) -> Timing:
    """Decoding alone, with soundfile in a process pool: nobody who decodes on cores is faster."""
    with ProcessPoolExecutor(job.settings.workers) as pool:
        list(pool.map(_sum_of_samples, job.files()[:1] * 2 * job.settings.workers))
        started = perf_counter()
        sums = list(pool.map(_sum_of_samples, job.files(), chunksize=4))
        return Timing(perf_counter() - started, len(sums), {"sum": sum(sums)})


def specctl_command(job: Job) -> list[str]:
    """The command line a user types."""
    return [
        *(str(Path(sys.executable).with_name("specctl")), "convert"),
        *(str(job.corpus), str(job.store), "--feature", "mel", "--scale", "db"),
        *("--n-fft", str(job.settings.n_fft), "--hop-length", str(job.settings.hop_length)),
        *("--n-mels", str(job.settings.n_mels), "--workers", str(job.settings.workers)),
        *(
            "--compression",
            job.compression,
            "--json",
            "--overwrite",
            *job.settings.specctl_args.split(),
        ),
    ]


def parse_specctl(stdout: str) -> Timing:
    """What ``specctl convert --json`` says of itself."""
    report = json.loads(stdout[stdout.index("{") :])
    seconds = report.get("seconds", {})
    steady_s = None
    if "total" in seconds:
        steady_s = seconds["total"] - seconds.get("startup", 0.0)
    return Timing(steady_s, report.get("n_items"), {"seconds": seconds})


class Contender(NamedTuple):
    """How a contender is run and what it is called in the table."""

    title: str
    run: Callable[[Job], Timing] | None
    modules: tuple[str, ...]
    comparable: bool = True  # stores what librosa computes


CONTENDERS = {
    "specctl": Contender("specctl", None, ("specctl",)),
    "librosa": Contender("librosa + joblib", run_librosa, ("librosa", "joblib", "h5py")),
    "torch": Contender("torch.stft + DataLoader", run_torch, ("torch", "librosa", "h5py")),
    "nnaudio": Contender("nnAudio + DataLoader", run_nnaudio, ("nnAudio", "torch", "h5py")),
    "lhotse": Contender(
        "lhotse LibrosaFbank", run_lhotse, ("lhotse", "librosa", "h5py"), comparable=False
    ),
    "decode": Contender("decoding alone", run_decode, ("soundfile",), comparable=False),
}


def why_missing(name: str) -> str | None:
    """What keeps a contender from running here, with the cure; None if nothing does."""
    absent = [module for module in CONTENDERS[name].modules if find_spec(module) is None]
    if absent:
        return f"{name} needs {', '.join(absent)}, not installed here; {INSTALL}"
    if name == "specctl" and not _can_convert():
        return "specctl has no working `convert` beside this Python; pip install -e ."
    return None


def _can_convert() -> bool:
    command = Path(sys.executable).with_name("specctl")
    if not command.exists():
        return False
    answer = subprocess.run([command, "convert", "--help"], capture_output=True, check=False)
    return answer.returncode == 0
