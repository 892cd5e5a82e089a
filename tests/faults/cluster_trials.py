"""Trials on the workers of a Dask scheduler, which are killed with all that belongs to them."""

import contextlib
import os
import random
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.convert.commands import LIMIT, environment, started
from tests.convert.dask_machines import Machines
from tests.faults.ledger import Section
from tests.faults.real_trials import finished
from tests.faults.sweep import Scenario, Sweep

SCENARIOS = ("convert", "resume", "update", "overwrite")
TARGETS = ("client", "worker", "process", "machine")
N_KILLS = 300
N_MACHINES = 2


class Cluster:
    """A scheduler and workers, begun with the first trial; a context manager.

    Parameters
    ----------
    folder : Path
        A new one.
    sweep : Sweep
        Has the scenarios.
    """

    def __init__(self, folder: Path, sweep: Sweep) -> None:
        self._folder, self._sweep = folder, sweep
        self._machines: Machines | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._machines is not None:
            self._machines.end()

    def section(self) -> Section:
        """Kills of everything but the scheduler."""
        return Section(
            "kills on a cluster",
            "SIGKILL of the command, of a Dask worker, of the process that it has for its tasks, "
            "or of all of a machine, which another one takes the place of, at a random time in a "
            "conversion, its resume, an update and an overwrite; only that of the command is "
            "noticed, and the same command finishes without a cluster",
            {f"kill {number}": partial(self._kill, number) for number in range(N_KILLS)},
        )

    def _kill(self, number: int) -> list[str]:
        """One kill of one of them."""
        machines = self._begun()
        chance = random.Random(number)
        scenario: Scenario = self._sweep.scenarios[chance.choice(SCENARIOS)]
        target = TARGETS[number % len(TARGETS)]
        place = self._sweep.begin(scenario)
        command, *arguments = scenario.command(place)
        # a scheduler has its own
        first = arguments.index("--workers")
        del arguments[first : first + 2]
        with started(*arguments, "--scheduler", machines.file, command=command) as process:
            time.sleep(chance.uniform(0.5, 4))
            if target == "client":
                process.kill()
            elif target == "machine":
                machines.replace_worker()
            else:
                # it may be on its way, after the kill before
                with contextlib.suppress(ProcessLookupError, ValueError):
                    os.kill(machines.pid_of(target), signal.SIGKILL)
            try:
                _, errors = process.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                return [f"has not ended {LIMIT} s after the kill of a {target}"]
        wrong = []
        if target != "client" and process.returncode != 0:
            wrong = [f"a {target} was not replaced: {process.returncode} {errors!r}"]
        return wrong + finished(self._sweep, scenario, place)

    def _begun(self) -> Machines:
        if self._machines is None:
            self._machines = Machines(self._folder, environment())
            for _ in range(N_MACHINES):
                self._machines.add_worker()
        return self._machines
