"""Faults and kills at full size: ``python -m tests.faults.torture --minutes 60``.

Goes on where the last run with the same program ended; writes ``benchmarks/RELIABILITY.md``.
What a trial that fails has left is kept beside the ledger, in ``.torture/failed``.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.faults import power, real_trials, torture_inputs
from tests.faults.cluster_trials import Cluster
from tests.faults.ledger import Ledger, Section, run_sections, subject, table
from tests.faults.runner import Runner
from tests.faults.shim import WRITES
from tests.faults.sweep import ALL_FAULTS, Fault, Scenario, Sweep, contents, wrong_end, wrong_state

ROOT = Path(__file__).parents[2]
N_KILLS = 1000
N_ROUNDS = 200
SEED = 1


def fault_section(sweep: Sweep) -> Section:
    """Every call, every fault."""
    trials = {
        f"{scenario.name}, call {point}, {fault}": partial(
            one_fault, sweep, scenario, point, fault
        )
        for scenario in sweep.scenarios.values()
        for point, call in enumerate(scenario.points)
        for fault in ALL_FAULTS
        if fault.name != "short" or call.split()[0] in WRITES
    }
    return Section(
        "faults at system calls",
        "each call that a conversion, its resume, an update, an overwrite, tidying up and a "
        f"repair make fails in turn, in {len(ALL_FAULTS)} ways: a kill before it or in the "
        "middle, a short write, six errors, once and for good; one clear line, and the same "
        "command finishes",
        shuffled(trials),
    )


def one_fault(sweep: Sweep, scenario: Scenario, point: int, fault: Fault) -> list[str]:
    """One call, one fault; what is wrong names the call."""
    wrong = sweep.trial(scenario, point, fault)
    return [f"{scenario.points[point]}: {each}" for each in wrong]


def kill_section(sweep: Sweep) -> Section:
    """SIGKILL at any time, then to the end."""
    names = list(sweep.scenarios)
    trials = {
        f"kill {number}": partial(kill, sweep, sweep.scenarios[names[number % len(names)]], number)
        for number in range(N_KILLS)
    }
    return Section(
        "kills at random times",
        "SIGKILL of a conversion in one process, evenly over its duration; the old store, none "
        "or the new one is there, and the same command finishes",
        trials,
    )


def kill(sweep: Sweep, scenario: Scenario, number: int) -> list[str]:
    """One kill at a time of its own."""
    place = sweep.begin(scenario)
    began = time.monotonic()
    sweep.runner.run(*scenario.command(place))
    total = time.monotonic() - began
    place = sweep.begin(scenario)
    after = random.Random(number).uniform(0, total)
    ended = sweep.runner.run(*scenario.command(place), kill_after=after)
    wrong = wrong_state(scenario, contents(place / "o.h5"))
    if ended.code not in (0, -9):
        wrong.append(f"not killed: {ended.code} {ended.errors!r}")
    again = sweep.runner.run(*scenario.command(place))
    if again.code != 0:
        wrong.append(f"cannot be finished: {again.code} {again.errors!r}")
    return wrong + wrong_end(scenario, place)


def crowd_section(sweep: Sweep) -> Section:
    """Several converters on one target."""
    trials = {
        f"round {number}": partial(crowd, sweep, 2 + number % 7) for number in range(N_ROUNDS)
    }
    return Section(
        "several at once",
        "2 to 8 converters of one store at the same time: one writes it, the others say so",
        trials,
    )


def crowd(sweep: Sweep, n_at_once: int) -> list[str]:
    """One round of several at once."""
    scenario = sweep.scenarios["convert"]
    place = sweep.begin(scenario)
    ended = sweep.runner.run_together([scenario.command(place)] * n_at_once)
    wrong = [
        f"{each.code} {each.errors!r}"
        for each in ended
        if not (each.code == 0 or (each.code == 1 and "is being written by" in each.errors))
    ]
    n_written = sum("3 files found: 3 converted" in each.errors for each in ended)
    if n_written != 1:
        wrong.append(f"{n_written} of {n_at_once} have written")
    return wrong + wrong_end(scenario, place)


def shuffled(trials: dict) -> dict:
    """The same trials in a random order that is the same each time."""
    names = sorted(trials)
    random.Random(SEED).shuffle(names)
    return {name: trials[name] for name in names}


SECTIONS = (
    fault_section,
    kill_section,
    crowd_section,
    real_trials.kill_section,
    real_trials.fault_section,
    real_trials.signal_section,
    real_trials.strace_section,
    torture_inputs.bad_audio_section,
    torture_inputs.flip_section,
    torture_inputs.fuzz_section,
)
"""Each makes a section from a `Sweep`, which has a runner and a folder to work in."""


def main() -> int:
    """Exit code 1 if any trial has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", default="", help="sections with this in their names")
    parser.add_argument("--ledger", type=Path, default=ROOT / ".torture" / "ledger.jsonl")
    parser.add_argument("--table", type=Path, default=ROOT / "benchmarks" / "RELIABILITY.md")
    options = parser.parse_args()
    ledger = Ledger(options.ledger, subject())
    with tempfile.TemporaryDirectory() as name, Runner(Path(name)) as runner, ExitStack() as stack:
        folder = Path(name)
        for each in ("sweep", *power.KINDS):
            (folder / each).mkdir()
        sweep = Sweep(runner, folder / "sweep")
        labs = [stack.enter_context(power.Lab(folder / kind, sweep, kind)) for kind in power.KINDS]
        cluster = stack.enter_context(Cluster(folder / "cluster", sweep))
        sections = [make(sweep) for make in SECTIONS] + [power.section(lab) for lab in labs]
        sections.append(cluster.section())

        def keep(section: str, trial: str) -> None:
            name = f"{section}, {trial}".replace("/", "_")
            kept = options.ledger.parent / "failed" / name
            shutil.copytree(folder / "sweep", kept, dirs_exist_ok=True)

        try:
            tried = [section for section in sections if options.only in section.name]
            run_sections(tried, ledger, options.minutes * 60, _tell, keep=keep)
        finally:
            options.table.write_text(table(sections, ledger))
    failed = [trial for done in ledger.done.values() for trial, wrong in done.items() if wrong]
    sys.stderr.write(f"\n{options.table}: {len(failed)} failures\n")
    return 1 if failed else 0


def _tell(section: str, n_done: int) -> None:
    if n_done % 10 == 0:
        sys.stderr.write(f"\r{n_done} trials, {section:40}")


if __name__ == "__main__":
    sys.exit(main())
