"""Power cuts: a file system of our own stops at once, and what it then holds is looked at.

It is made in a file, on a loop device, and mounted where only this process and its children see
it: the mount and the device go with this process, however it ends. `tests.faults.power` starts it.
"""

import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

from specctl.errors import StoreError
from specctl.store.part import read_part
from specctl.store.reader import open_store
from tests.convert.commands import LIMIT
from tests.faults.power import KINDS, Cut
from tests.faults.real_trials import run_workers
from tests.faults.runner import Ended, Runner
from tests.faults.shim import cut_power
from tests.faults.sweep import (
    Fault,
    Scenario,
    begun,
    contents,
    wrong_end,
    wrong_ending,
    wrong_state,
)

SIGNS_OF_LIFE = """
import sys
from pathlib import Path
from specctl.convert.beats import Beats
beats = Beats(Path(sys.argv[1]), 1, create=True)
for _ in range(2):
    beats.row(0).step()
    print(beats.row(0).count, flush=True)
    sys.stdin.readline()
"""


class Disk:
    """A file system in a file, mounted at ``path``."""

    def __init__(self, folder: Path, kind: str) -> None:
        size, make, self._options = KINDS[kind]
        self.path, self._image = folder / "disk", folder / "image"
        self.path.mkdir()
        _do("truncate", "-s", size, self._image)
        _do(*make, self._image)
        self.mount()

    def mount(self) -> None:
        _do("mount", "-o", self._options, self._image, self.path)

    def unmount(self) -> None:
        """Wait for whoever still has a file open: a worker that is being killed."""
        end = time.monotonic() + LIMIT
        while True:
            try:
                return _do("umount", self.path)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def sync(self) -> None:
        """Have what is there now outlast a power cut."""
        _do("sync", "-f", self.path)

    def cut(self) -> None:
        cut_power(str(self.path))


def _do(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {os.fsdecode(done.stderr).strip()}")


@dataclass
class Trials:
    """Power cuts on one disk, one after another."""

    runner: Runner
    disk: Disk
    scenarios: dict[str, Scenario]
    acks: Path

    def __post_init__(self) -> None:
        self._seconds: dict[tuple[str, bool], float] = {}

    def trial(self, cut: Cut) -> list[str]:
        """What is wrong."""
        scenario = self.scenarios[cut.scenario]
        seconds = self._seconds_of(scenario, cut) if cut.point is None else 0.0
        place = self._begun(scenario)
        before = _parts(place)
        ended = self._cut_during(scenario, place, cut, cut.share * seconds)
        self.disk.unmount()
        self.disk.mount()
        acked = acknowledged(self.acks)
        found = contents(place / "o.h5")
        is_over = cut.point is not None and not cut.lives
        wrong = [] if is_over else wrong_ending(ended, Fault("EIO"), place)
        wrong += wrong_state(scenario, found) + _wrong_files(place)
        if ("o.h5" in acked or ended.code == 0) and found != scenario.wanted:
            wrong.append("the store was acknowledged and is not there")
        if found != scenario.wanted:
            there = _parts(place)
            wrong += [f"{name} is lost" for name in sorted((acked | before) - there - {"o.h5"})]
        again = self.runner.run(*scenario.command(place))
        if again.code != 0:
            wrong.append(f"cannot be finished: {again.code} {again.errors!r}")
        return wrong + wrong_end(scenario, place)

    def read(self) -> tuple[int | None, str]:
        """Open a store, cut the power, read an item; the error and that of the system in it."""
        place = self._begun(self.scenarios["tidy up"])
        number, text = None, "no error"
        with open_store(place / "o.h5") as store:
            self.disk.cut()
            try:
                store[next(iter(store))]
            except StoreError as error:
                number, text = getattr(error.__cause__, "errno", None), str(error)
        self.disk.unmount()
        self.disk.mount()
        return number, text.removeprefix(f"{place}/")

    def live(self) -> int:
        """Give a sign of life, cut the power, give another; the exit code."""
        command = [sys.executable, "-c", SIGNS_OF_LIFE, str(self.disk.path / "beats")]
        with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
            process.stdout.readline()
            # a page that is on the disk has to be asked for again before it is written to
            self.disk.sync()
            self.disk.cut()
            process.communicate("\n\n", timeout=LIMIT)
        self.disk.unmount()
        self.disk.mount()
        return process.returncode

    def _begun(self, scenario: Scenario) -> Path:
        place = begun(scenario, self.disk.path / "place")
        self.disk.sync()
        self.acks.unlink(missing_ok=True)
        return place

    def _seconds_of(self, scenario: Scenario, cut: Cut) -> float:
        """How long the command takes that nothing happens to."""
        kind = (scenario.name, cut.has_workers)
        if kind not in self._seconds:
            place = self._begun(scenario)
            began = time.monotonic()
            self._run(scenario, place, cut)
            self._seconds[kind] = time.monotonic() - began
        return self._seconds[kind]

    def _cut_during(self, scenario: Scenario, place: Path, cut: Cut, after: float) -> Ended:
        if cut.point is not None:
            return self._run(scenario, place, cut)
        timer = threading.Timer(after, self.disk.cut)
        timer.start()
        ended = self._run(scenario, place, cut)
        timer.join()
        return ended

    def _run(self, scenario: Scenario, place: Path, cut: Cut) -> Ended:
        shim = {"place": str(place), "acks": str(self.acks), "lies": cut.lies}
        if cut.point is not None:
            shim.update(point=cut.point, fault="outage" if cut.lives else "power")
        if not cut.has_workers:
            return self.runner.run(*scenario.command(place), shim=shim)
        return run_workers(self.runner, scenario, place, shim)


def acknowledged(acks: Path) -> set[str]:
    """Names of the parts, and of the store, after whose renaming a process has gone on.

    What it does in the folder of the new name belongs to the renaming.
    """
    found: set[str] = set()
    pending: dict[str, tuple[str, str]] = {}
    for line in acks.read_text().splitlines() if acks.exists() else []:
        pid, call, path = line.split(" ", 2)
        name, folder = pending.get(pid, ("", ""))
        if call == "failed":
            pending.pop(pid, None)
        elif name and path != folder:
            found.add(name)
            del pending[pid]
        if call == "rename" and path.endswith("/merged.h5"):
            pending[pid] = ("o.h5", ".")
        elif call == "rename" and ".part.tmp" in path:
            pending[pid] = (Path(path).name.removesuffix(".tmp"), str(Path(path).parent))
    return found


def _parts(place: Path) -> set[str]:
    return {path.name for path in (place / "o.h5.parts").glob("*.part")}


def _wrong_files(place: Path) -> list[str]:
    """What is wrong with files that have their final names: whatever has one is whole."""
    folder, wrong = place / "o.h5.parts", []
    for path in sorted(folder.glob("*.part")):
        try:
            for _ in read_part(path).iter_chunks():
                pass
        except StoreError as error:
            wrong.append(str(error))
    if (folder / "job.json").exists() and not (folder / "plan.jsonl").exists():
        wrong.append("a job without its plan")
    for path in sorted(folder.glob("*.json*")):
        if ".tmp-" not in path.name and not _is_json(path):
            wrong.append(f"{path.name} is torn")
    return wrong


def _is_json(path: Path) -> bool:
    text = path.read_text()
    documents = text.splitlines() if path.suffix == ".jsonl" else [text]
    try:
        return bool([json.loads(document) for document in documents])
    except ValueError:
        return False


def _serve(scratch: Path, kind: str) -> None:
    answer = partial(_answer, os.fdopen(os.dup(1), "w"))
    try:
        disk = Disk(scratch, kind)
        disk.cut()
        disk.unmount()
        disk.mount()
    except (OSError, RuntimeError) as error:
        answer(f"cannot cut the power of {kind}: {error}")
        return
    scenarios = pickle.loads((scratch / "scenarios").read_bytes())
    with contextlib.ExitStack() as stack:
        stack.callback(disk.unmount)
        runner = stack.enter_context(Runner(scratch))
        answer("")
        trials = Trials(runner, disk, scenarios, scratch / "acks")
        for line in sys.stdin:
            order = json.loads(line)
            named = {"read": trials.read, "live": trials.live}
            answer(named[order]() if order in ("read", "live") else trials.trial(Cut(**order)))


def _answer(answers: Any, value: object) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2])
