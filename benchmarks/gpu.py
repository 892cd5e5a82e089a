"""The record of a GPU: the gate first, then every work, then which tiles are fastest there.

    python benchmarks/gpu.py all       # all of the following, if the gate passes
    python benchmarks/gpu.py gate      # nothing else counts before it passes
    python benchmarks/gpu.py limits    # copies and products; the largest training batch in 24 GB
    python benchmarks/gpu.py mel       # each ends within 8 minutes
    python benchmarks/gpu.py short     # the same for one clip of 10 s, mostly launches
    python benchmarks/gpu.py stft
    python benchmarks/gpu.py train
    python benchmarks/gpu.py large     # a training step of which others keep 11 GB
    python benchmarks/gpu.py convert
    python benchmarks/gpu.py tiles     # once for each kind of GPU
    python benchmarks/results.py       # results/*.json to RESULTS.md

The record is written after every cell, so what was measured survives whatever happens. Nothing is
fetched from anywhere; what is missing is said at once, with the wheels to bring. What was expected
stands in PREDICTIONS.md.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gpu_needs import refuse_without

refuse_without()

import torch  # noqa: E402
from gpu_limits import ceilings, largest_batches  # noqa: E402

from specctl.bench import Request, run_bench  # noqa: E402
from specctl.bench.machine import describe_machine, describe_versions  # noqa: E402
from specctl.bench.request import LARGE, LARGE_BATCH, LARGE_SECONDS, Setting  # noqa: E402
from specctl.bench.results import write_json  # noqa: E402
from specctl.bench.run import Hooks  # noqa: E402
from specctl.bench.workload import Work  # noqa: E402

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
BUDGET_SECONDS = 420.0
SETTINGS = (
    Setting(16000, 400, 160, 80),
    Setting(16000, 512, 128, 64),
    Setting(22050, 1024, 256, 80),
    Setting(44100, 2048, 512, 128),
)
# clips of a call, and seconds of each: 16 minutes, or 10 of those in training
BATCH: dict[str, tuple[Work, int, float]] = {
    "mel": ("mel", 32, 30.0),
    "short": ("mel", 1, 10.0),
    "stft": ("stft", 32, 30.0),
    "train": ("train", 60, 10.0),
    "large": ("train", LARGE_BATCH, LARGE_SECONDS),
    "convert": ("convert", 200, 30.0),
}
ALL = ("limits", *BATCH, "tiles")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="The record of this machine's GPU.")
    parser.add_argument("what", choices=("all", "gate", *ALL))
    parser.add_argument("--rounds", type=int, default=30, help="samples of each (default 30)")
    parser.add_argument("--budget", type=float, default=BUDGET_SECONDS, help="seconds (420)")
    parser.add_argument("--out", type=Path, help="default: named after the GPU")
    arguments = parser.parse_args()
    if arguments.what in ("all", "gate") and arguments.out is not None:
        parser.error("--out is for a single record")
    return arguments


def record_path(what: str) -> Path:
    """Named after the GPU and the work; what tiles take is no result of a release."""
    model = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
    folder = RESULTS.parent if what == "tiles" else RESULTS
    return folder / f"gpu-{model}-{what}.json"


def gate() -> int:
    """Every kernel against float64; the exit code of pytest."""
    tests = ROOT / "tests" / "kernels" / "gpu" / "test_device.py"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", str(tests)]
    # an error in the tests of a change, but no fault of a kernel: what torch or a driver warns of
    command += ["-W", "default"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def measure(what: str, arguments: argparse.Namespace, path: Path) -> None:
    """One work with every setting; doubts to stderr."""
    work, batch, seconds = BATCH[what]
    request = Request(
        works=(work,),
        device="cuda",
        settings=(LARGE,) if what == "large" else SETTINGS,
        batch=batch,
        seconds=seconds,
        rounds=arguments.rounds,
        budget=arguments.budget,
    )
    hooks = Hooks(save=write_json(path), say=lambda text: print(text, file=sys.stderr))
    report = run_bench(request, hooks)
    for text in [*report.skipped, *report.doubts]:
        print(text, file=sys.stderr)


def sweep_tiles(arguments: argparse.Namespace, path: Path) -> None:
    """The time of every tile that is worth a try; the fastest of each go into tiles.py by hand."""
    from tile_sweep import candidates, time_of

    ends = time.monotonic() + arguments.budget
    rows: list[dict[str, Any]] = []
    for candidate in candidates():
        if time.monotonic() > ends:
            rows.append({"status": "out of time"})
            break
        rows.append(time_of(candidate, arguments.rounds))
        print(rows[-1], file=sys.stderr)
        record = {
            "schema": "tiles 1",
            "machine": describe_machine("cuda"),
            "versions": describe_versions(),
            "tiles": rows,
        }
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def find_limits(path: Path) -> None:
    """Ceilings first, then the largest batches."""
    record: dict[str, Any] = {
        "schema": "gpu limits 1",
        "machine": describe_machine("cuda"),
        "versions": describe_versions(),
        "ceilings": ceilings("cuda"),
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    record["largest_batches"] = largest_batches("cuda")
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def do(what: str, arguments: argparse.Namespace) -> None:
    """One of the measurements, into a record of its own."""
    path = arguments.out or record_path(what)
    if what == "tiles":
        sweep_tiles(arguments, path)
    elif what == "limits":
        find_limits(path)
    else:
        measure(what, arguments, path)
    print(path)


def do_apart(what: str, arguments: argparse.Namespace) -> int:
    """The same in a process of its own: a GPU that has failed once fails to the end of it."""
    command = [sys.executable, __file__, what, "--rounds", str(arguments.rounds)]
    return subprocess.run([*command, "--budget", str(arguments.budget)], check=False).returncode


def main() -> int:
    """Do one of the works, or all that can be done; 0 if nothing failed."""
    arguments = parse()
    if not torch.cuda.is_available():
        print("this machine has no CUDA device; benchmarks/cpu.py measures its processor")
        return 1
    if arguments.what not in ("all", "gate"):
        do(arguments.what, arguments)
        return 0
    failed = gate()
    if failed or arguments.what == "gate":
        return failed
    codes = [do_apart(what, arguments) for what in ALL]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
