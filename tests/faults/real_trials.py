"""Trials with real processes: a parent and its workers, killed or made to fail."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.convert.commands import (
    LIMIT,
    argv,
    environment,
    kill_group,
    started,
    wait_for,
    worker_pids,
)
from tests.faults.ledger import Section
from tests.faults.runner import Ended, Runner
from tests.faults.sweep import (
    Fault,
    Scenario,
    Sweep,
    contents,
    wrong_end,
    wrong_ending,
    wrong_state,
)

REAL = ("convert", "resume", "update", "overwrite", "repair")
TARGETS = ("group", "parent", "worker")
N_KILLS = 300
N_FAULTS = 300
N_SIGNALS = 200
STOPPED_AFTER = 10.0
"""Seconds: what is in hand is finished first, and others may want the machine too."""
CALLS = {"pwrite64": 75, "fsync": 14, "rename": 6, "unlink": 8, "ftruncate": 2, "flock": 1}
"""System call to how often the parent makes it; the last few may be one too many."""
INJECTED = {"kill": "signal=KILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}


def run_with(
    runner: Runner, scenario: Scenario, place: Path, role: str, point: int | str, fault: Fault
) -> Ended:
    """A conversion by two workers; of all processes with a role one has the fault."""
    settings = {
        "place": str(place),
        "point": point,
        "fault": fault.name,
        "lasting": fault.lasting,
        "role": role,
        "token": str(place.parent / "token"),
    }
    return run_workers(runner, scenario, place, settings)


def run_workers(
    runner: Runner, scenario: Scenario, place: Path, settings: dict[str, Any]
) -> Ended:
    """A conversion by two workers, to its end; a `Shim` is in all of its processes."""
    return runner.run(*with_workers(scenario, place), shim=settings, with_workers=True)


def with_workers(scenario: Scenario, place: Path) -> tuple[object, ...]:
    """The command line of a conversion by two workers."""
    return (*scenario.command(place), "--workers", 2)


def finished(sweep: Sweep, scenario: Scenario, place: Path) -> list[str]:
    """What is wrong after the same command without a fault."""
    wrong = wrong_state(scenario, contents(place / "o.h5"))
    again = sweep.runner.run(*scenario.command(place))
    if again.code != 0:
        wrong.append(f"cannot be finished: {again.code} {again.errors!r}")
    return wrong + wrong_end(scenario, place)


def kill_section(sweep: Sweep) -> Section:
    """Kills of everything, of the parent, of a worker."""
    return Section(
        "kills of real processes",
        "SIGKILL of the whole group, of the parent alone or of a worker at a random time, in a "
        "conversion, its resume, an update, an overwrite and a repair by two workers; a worker "
        "costs nothing, the rest as above, no process is left after 5 s",
        {f"kill {number}": partial(kill, sweep, number) for number in range(N_KILLS)},
    )


def kill(sweep: Sweep, number: int) -> list[str]:
    """One kill of one of them."""
    chance = random.Random(number)
    scenario = sweep.scenarios[chance.choice(REAL)]
    target = TARGETS[number % 3]
    place = sweep.begin(scenario)
    command, *arguments = with_workers(scenario, place)
    with started(*arguments, command=command) as process:
        time.sleep(chance.uniform(0, 1.2))
        workers = worker_pids(process) if target == "worker" else [process.pid]
        if target == "group":
            kill_group(process)
        elif workers and process.poll() is None:
            os.kill(chance.choice(workers), signal.SIGKILL)
        _, errors = process.communicate(timeout=LIMIT)
        wrong = []
        if target == "worker" and process.returncode != 0:
            wrong = [f"a worker was not replaced: {process.returncode} {errors!r}"]
        if target == "parent" and not gone(process.pid):
            wrong = ["a worker has outlived its parent by 5 s"]
    return wrong + finished(sweep, scenario, place)


def signal_section(sweep: Sweep) -> Section:
    """Ctrl-C and SIGTERM."""
    return Section(
        "signals",
        "SIGINT or SIGTERM to the parent or to all, once or twice, at a random time; the command "
        "ends within 10 s with 130 or 143, says how to go on, and the same command finishes",
        {f"signal {number}": partial(signalled, sweep, number) for number in range(N_SIGNALS)},
    )


def signalled(sweep: Sweep, number: int) -> list[str]:
    """One signal, or two."""
    chance = random.Random(number)
    scenario = sweep.scenarios[chance.choice(REAL)]
    send = chance.choice([os.kill, os.killpg])
    sent = chance.choice([signal.SIGINT, signal.SIGTERM])
    place = sweep.begin(scenario)
    command, *arguments = with_workers(scenario, place)
    with started(*arguments, command=command) as process:
        wait_for(lambda: holds_lock(process.pid, place) or process.poll() is not None, "the lock")
        time.sleep(chance.uniform(0, 0.6))
        for _ in range(chance.choice([1, 2])):
            with contextlib.suppress(ProcessLookupError):
                send(process.pid, sent)
            time.sleep(chance.uniform(0, 0.1))
        try:
            said = "".join(process.communicate(timeout=STOPPED_AFTER))
        except subprocess.TimeoutExpired:
            return [f"has not ended {STOPPED_AFTER} s after {sent.name}"]
        wrong = []
        is_done = contents(place / "o.h5") == scenario.wanted
        # the one with the minus sign where there was nothing left to be stopped
        if process.returncode not in (0, 128 + sent, -sent) or not (
            is_done or "to go on: specctl " in said
        ):
            wrong = [f"{sent.name}: {process.returncode} {said!r}"]
        if not gone(process.pid):
            wrong.append("a worker has outlived its parent by 5 s")
    return wrong + finished(sweep, scenario, place)


def holds_lock(pid: int, place: Path) -> bool:
    """Whether a process has begun with the store; before that it takes no care of signals."""
    try:
        return f"process {pid} " in (place / "o.h5.parts" / "lock").read_text()
    except OSError:
        return False


def gone(group: int) -> bool:
    """Whether all processes of a group are gone within 5 s."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def fault_section(sweep: Sweep) -> Section:
    """Faults at the calls of workers and parents."""
    return Section(
        "faults in real processes",
        "one call of one worker of two, or of their parent, fails: a kill, a short write, an "
        "error, once and for good",
        {f"fault {number}": partial(fault, sweep, number) for number in range(N_FAULTS)},
    )


def fault(sweep: Sweep, number: int) -> list[str]:
    """One fault at one call."""
    chance = random.Random(number)
    name = chance.choice(["kill", "torn", "short", "ENOSPC", "EIO", "EACCES", "EDQUOT", "EROFS"])
    wanted = Fault(name, lasting=name not in ("kill", "torn") and chance.random() < 0.5)
    role = ("worker", "parent")[number % 2]
    scenario = sweep.scenarios[chance.choice(REAL)]
    (sweep.folder / "token").unlink(missing_ok=True)
    place = sweep.begin(scenario)
    point = chance.randrange(16 if role == "worker" else len(scenario.points) - 45)
    ended = run_with(sweep.runner, scenario, place, role, point, wanted)
    has_struck = (sweep.folder / "token").exists()
    is_quiet = not has_struck or (role == "worker" and name in ("kill", "torn"))
    wrong = [] if is_quiet and ended.code == 0 else wrong_ending(ended, wanted, place)
    return [f"{role}, call {point}, {wanted}: {each}" for each in wrong] + finished(
        sweep, scenario, place
    )


def strace_section(sweep: Sweep) -> Section:
    """Faults that the system itself gives, by ``strace -e inject``."""
    name, what = (
        "faults given by the system",
        "strace lets the N-th pwrite, fsync, rename, unlink, ftruncate or flock of a conversion "
        "fail in the kernel: killed, disk full, I/O error",
    )
    if not can_strace():
        return Section(name, what, {}, "strace is missing or may not trace")
    trials = {
        f"{call} {number}, {error}": partial(strace, sweep, call, number, error)
        for call, count in CALLS.items()
        for number in range(1, count + 1)
        for error in INJECTED
    }
    names = sorted(trials)
    random.Random(0).shuffle(names)
    return Section(name, what, {name: trials[name] for name in names})


def can_strace() -> bool:
    """Whether there is a strace that may let calls fail."""
    if shutil.which("strace") is None:
        return False
    tried = ["strace", "-o", "/dev/null", "-e", "inject=flock:error=EIO:when=1", "true"]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


def strace(sweep: Sweep, call: str, number: int, error: str) -> list[str]:
    """One call fails in the kernel."""
    scenario = sweep.scenarios["convert"]
    place = sweep.begin(scenario)
    inject = f"inject={call}:{INJECTED[error]}:when={number}"
    tracer = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
    _, *arguments = scenario.command(place)
    done = subprocess.run(
        [*tracer, *argv(*arguments, small_parts=True)],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=LIMIT,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr)
    # strace ends as its program did
    if ended.code == 137:
        ended = Ended(-9, ended.output, ended.errors)
    # the last few calls may not be made at all
    wrong = [] if ended.code == 0 else wrong_ending(ended, Fault(error), place)
    return wrong + finished(sweep, scenario, place)
