"""The record of this machine's processor: every setting, one core and all of them.

    python benchmarks/cpu.py mel       # each ends within 8 minutes
    python benchmarks/cpu.py stft
    python benchmarks/cpu.py train
    python benchmarks/results.py       # results/*.json to RESULTS.md

The record is written after every cell, so what was measured survives whatever happens. Run it on
a machine that does nothing else; doubts stand in the record.
"""

import argparse
import re
import sys
from pathlib import Path

from specctl.bench import Request, run_bench
from specctl.bench.machine import describe_machine
from specctl.bench.request import ALL_SETTINGS
from specctl.bench.results import write_json
from specctl.bench.run import Hooks

RESULTS = Path(__file__).parent / "results"
BUDGET_SECONDS = 420.0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="The record of this machine's processor.")
    parser.add_argument("work", choices=("mel", "stft", "train", "convert"))
    parser.add_argument("--rounds", type=int, default=20, help="samples of each (default 20)")
    parser.add_argument("--budget", type=float, default=BUDGET_SECONDS, help="seconds (420)")
    parser.add_argument("--out", type=Path, help="default: results/cpu-MACHINE-WORK.json")
    return parser.parse_args()


def record_path(work: str) -> Path:
    """Named after the machine and the work."""
    machine = describe_machine("cpu")
    model = re.sub(r"[^a-z0-9]+", "-", machine["cpu"].lower()).strip("-")
    return RESULTS / f"cpu-{model}-{machine['cores']}-cores-{work}.json"


def main() -> None:
    """Measure and write the record; doubts to stderr."""
    arguments = parse()
    path = arguments.out or record_path(arguments.work)
    request = Request(
        works=(arguments.work,),
        device="cpu",
        settings=ALL_SETTINGS,
        rounds=arguments.rounds,
        budget=arguments.budget,
    )
    hooks = Hooks(save=write_json(path), say=lambda text: print(text, file=sys.stderr))
    report = run_bench(request, hooks)
    for text in [*report.skipped, *report.doubts]:
        print(text, file=sys.stderr)
    print(path)


if __name__ == "__main__":
    main()
