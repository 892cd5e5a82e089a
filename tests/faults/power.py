"""Power cuts, as tests ask for them: `power_trials` makes and judges them in another process."""

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from tests.convert.commands import LIMIT
from tests.faults.ledger import Section
from tests.faults.runner import ROOT
from tests.faults.sweep import Sweep

KINDS = {
    # written back every second, not every five: more states of the disk in the time of a run
    "ext4": ("64M", ("mkfs.ext4", "-q", "-F"), "loop,commit=1"),
    "xfs": ("300M", ("mkfs.xfs", "-q", "-f"), "loop"),
}
"""Size of the smallest image, what makes the file system, options of its mount."""
N_CUTS = 300
SHARE_WITH_WORKERS = 4
"""One cut in so many hits a conversion by two workers."""


@dataclass(frozen=True)
class Cut:
    """When the power goes, and in what.

    Parameters
    ----------
    scenario : str
    point : int, optional
        The call before which it goes, and the process with it unless that ``lives``.
    share : float
        Without ``point``: after how much of the time that the command takes.
    lives : bool
        Whether the process lives on and finds that nothing can be written, which is so without
        a ``point``.
    has_workers : bool
        Whether two workers convert, or the command's own process.
    lies : bool
        Whether ``fsync`` does nothing, so that something must be lost.
    """

    scenario: str
    point: int | None = None
    share: float = 0.0
    lives: bool = False
    has_workers: bool = False
    lies: bool = False

    def __str__(self) -> str:
        when = (
            f"after {self.share:.3f} of its time" if self.point is None else f"call {self.point}"
        )
        notes = ", lives on" * self.lives + ", two workers" * self.has_workers
        return f"{self.scenario}, {when}{notes}"


class Lab:
    """A process with a file system of its own; a context manager.

    ``refused`` says why there is none, if there is none.

    Parameters
    ----------
    folder : Path
        An empty one.
    sweep : Sweep
        Has the scenarios.
    kind : str
        Of file system.
    """

    def __init__(self, folder: Path, sweep: Sweep, kind: str = "ext4") -> None:
        self.kind, self.sweep, self.refused = kind, sweep, _missing(kind)
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if self.refused:
            return self
        (self.folder / "scenarios").write_bytes(pickle.dumps(self.sweep.scenarios))
        program = [
            sys.executable,
            "-m",
            "tests.faults.power_trials",
            str(self.folder),
            self.kind,
        ]
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", *program],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # what stops us is no reason for it to leave things behind
            start_new_session=True,
        )
        self.refused = self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(LIMIT)
            self.process.stdout.close()

    def trial(self, cut: Cut) -> list[str]:
        """What is wrong after a power cut, and after the same command once more."""
        return self._asked(asdict(cut))

    def read(self) -> tuple[int | None, str]:
        """Number and text of the error when an item is read after a power cut."""
        return tuple(self._asked("read"))

    def live(self) -> int:
        """How a process ends that gives signs of life before and after a power cut."""
        return self._asked("live")

    def _asked(self, order: object) -> Any:
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.kind}: its process has ended: {self.process.wait(LIMIT)}")
        return json.loads(line)


def section(lab: Lab) -> Section:
    """Power cuts at random times, and before each call."""
    chance = random.Random(0)
    names = list(lab.sweep.scenarios)
    cuts = [
        Cut(
            names[number % len(names)],
            share=chance.uniform(0, 1.1),
            has_workers=number % SHARE_WITH_WORKERS == 0,
        )
        for number in range(N_CUTS)
    ]
    cuts += [
        Cut(scenario.name, point=point, lives=lives)
        for scenario in lab.sweep.scenarios.values()
        for point in range(len(scenario.points))
        for lives in (False, True)
    ]
    chance.shuffle(cuts)
    return Section(
        f"power cuts, {lab.kind}",
        "the file system stops at a random time, or before one of the calls, and what had not "
        "reached its disk is lost; what was acknowledged is there and whole, the store is the "
        "old one, none or the new one, and the same command finishes",
        {} if lab.refused else {str(cut): partial(lab.trial, cut) for cut in cuts},
        lab.refused,
    )


def _missing(kind: str) -> str:
    """What this machine lacks, in words."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux may mount"
    for program in ("unshare", "mount", "umount", KINDS[kind][1][0]):
        if shutil.which(program) is None:
            return f"there is no {program}"
    return ""
