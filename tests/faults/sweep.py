"""One fault at one system call of a conversion, and what must hold after it."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from errno import errorcode
from functools import lru_cache
from pathlib import Path

import h5py

from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import parts_of
from tests.faults.runner import Ended, Runner
from tests.faults.shim import DEATHS, ERRORS, QUIET

FLAGS = ("--n-fft", 512, "--workers", 0)
CHANGING = ("created", "job", "seal_sha256")
"""Attributes that no two conversions have in common: time, name, and what is made of them."""
ERRNO = {name: os.strerror(number) for number, name in errorcode.items()}


@dataclass(frozen=True)
class Fault:
    """What happens to a call, and whether to the later ones too."""

    name: str
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.name} for good" if self.lasting else self.name


ALL_FAULTS = (
    *(Fault(name) for name in (*DEATHS, "short", *ERRORS)),
    *(Fault(name, lasting=True) for name in ("short", *ERRORS)),
)
CI_FAULTS = (Fault("kill"), Fault("ENOSPC", lasting=True), Fault("EIO"))


@dataclass
class Scenario:
    """A command, and what lies in the folder of its store before.

    ``start`` is that folder, ``points`` the calls that the command makes there, ``wanted`` what
    it makes, ``old`` what the store holds before.
    """

    name: str
    arguments: tuple[object, ...]
    start: Path
    wanted: dict[str, bytes] = field(default_factory=dict)
    old: dict[str, bytes] | None = None
    points: list[str] = field(default_factory=list)

    def command(self, place: Path) -> tuple[object, ...]:
        """The command line that writes in a copy of the folder."""
        source, *flags = self.arguments
        if "--repair" in flags:
            return ("verify", place / "o.h5", source, *flags, "--workers", 0)
        return ("convert", source, place / "o.h5", *FLAGS, *flags)


class Sweep:
    """The scenarios and a place to try them in.

    Parameters
    ----------
    runner : Runner
    folder : Path
        An empty one.
    """

    def __init__(self, runner: Runner, folder: Path) -> None:
        self.runner, self.folder = runner, folder
        self._place, self._log = folder / "place", folder / "log"
        self.scenarios = {
            name: self.measured(make(folder / name)) for name, make in self._makers().items()
        }

    def trial(self, scenario: Scenario, point: int | str, fault: Fault) -> list[str]:
        """What is wrong after a fault, and after the same command without one."""
        place = self.begin(scenario)
        store = place / "o.h5"
        before = parts_of(store)
        shim = {
            "place": str(place),
            "point": point,
            "fault": fault.name,
            "lasting": fault.lasting,
        }
        ended = self.runner.run(*scenario.command(place), shim=shim)
        found = contents(store)
        wrong = wrong_ending(ended, fault, place)
        wrong += wrong_state(scenario, found)
        is_done = found == scenario.wanted
        if ended.code == 0:
            wrong += wrong_end(scenario, place)
        # a bad sector makes a part as good as damaged
        elif fault.name != "EIO" and not is_done:
            wrong += [
                f"part {name} is lost"
                for name, identity in before.items()
                if parts_of(store).get(name) != identity
            ]
        again = self.runner.run(*scenario.command(place))
        if again.code != 0:
            wrong.append(f"cannot be finished: {again.code} {again.errors!r}")
        return wrong + wrong_end(scenario, place)

    def begin(self, scenario: Scenario) -> Path:
        """A fresh copy of what lies there before."""
        return begun(scenario, self._place)

    def measured(self, scenario: Scenario) -> Scenario:
        """Run a scenario without a fault."""
        place = self.begin(scenario)
        scenario.old = contents(place / "o.h5")
        self._log.unlink(missing_ok=True)
        shim = {"place": str(place), "log": str(self._log)}
        ended = self.runner.run(*scenario.command(place), shim=shim)
        if ended.code != 0 or verify_store(place / "o.h5"):
            raise RuntimeError(f"{scenario.name} cannot be run: {ended.errors}")
        scenario.wanted = contents(place / "o.h5") or {}
        scenario.points = self._log.read_text().splitlines()
        return scenario

    def _makers(self) -> dict[str, Callable[[Path], Scenario]]:
        return {
            "convert": self._make_fresh,
            "resume": self._make_resume,
            "update": self._make_update,
            "overwrite": self._make_overwrite,
            "tidy up": self._make_untidy,
            "repair": self._make_damaged,
        }

    def _make_fresh(self, folder: Path) -> Scenario:
        source = corpus(folder / "in", 3, seconds=0.2)
        (folder / "start").mkdir()
        return Scenario("convert", (source,), folder / "start")

    def _make_resume(self, folder: Path) -> Scenario:
        """Two parts of three are there, and what two killed runs were writing."""
        scenario = self._make_fresh(folder)
        scenario.name = "resume"
        self._leave(scenario, lambda path: path.startswith("rename") and "000002.part" in path)
        work = scenario.start / "o.h5.parts"
        (work / "000002.part.tmp-1").write_bytes(b"half")
        (work / "merged.h5").write_bytes(b"half")
        return scenario

    def _make_untidy(self, folder: Path) -> Scenario:
        """The store has its name, and the working folder is still there."""
        scenario = self._make_fresh(folder)
        scenario.name = "tidy up"
        self._leave(scenario, lambda path: path.startswith("unlink") and path.endswith(".part"))
        return scenario

    def _make_update(self, folder: Path) -> Scenario:
        """One source has changed since, one is new, and all have labels now."""
        scenario = self._make_fresh(folder)
        source = folder / "in"
        self._run_in(scenario)
        write_noise(source / "x" / "000.wav", 0.3, seed=7)
        write_noise(source / "y" / "new.wav", 0.25, seed=8)
        return Scenario("update", (source, "--update", "--labels", "folder"), scenario.start)

    def _make_overwrite(self, folder: Path) -> Scenario:
        """A store with other settings."""
        scenario = self._make_fresh(folder)
        scenario.arguments = (*scenario.arguments, "--hop-length", 100)
        self._run_in(scenario)
        return Scenario("overwrite", (folder / "in", "--overwrite"), scenario.start)

    def _make_damaged(self, folder: Path) -> Scenario:
        """One item of three is damaged."""
        scenario = self._make_fresh(folder)
        self._run_in(scenario)
        damage(scenario.start / "o.h5", chunk=1)
        return Scenario("repair", (folder / "in", "--repair"), scenario.start)

    def _run_in(self, scenario: Scenario, **options: object) -> Ended:
        return self.runner.run(*scenario.command(scenario.start), **options)

    def _leave(self, scenario: Scenario, is_last: Callable[[str], bool]) -> None:
        """Kill a run before a certain call; what it leaves is the start."""
        points = self.measured(scenario).points
        point = next(number for number, path in enumerate(points) if is_last(path))
        shim = {"place": str(scenario.start), "point": point, "fault": "kill"}
        if self._run_in(scenario, shim=shim).code != -9:
            raise RuntimeError(f"{scenario.name} was not killed")


def kinds_of(points: list[str]) -> dict[str, list[int]]:
    """Numbers of the calls of each kind, in the order of the first of them.

    Of a kind are calls of one name on the same file, or on any part, after names of the same kind
    have changed last.
    """
    kinds: dict[str, list[int]] = {}
    after = ""
    for number, point in enumerate(points):
        call = re.sub(r"\d{6}", "N", point)
        is_quiet = call.startswith(QUIET)
        kinds.setdefault(call if is_quiet else call + after, []).append(number)
        if call.startswith(("rename", "unlink")):
            after = f" after {call}"
    return kinds


def begun(scenario: Scenario, place: Path) -> Path:
    """A fresh copy of what lies there before, in ``place``."""
    shutil.rmtree(place, ignore_errors=True)
    return shutil.copytree(scenario.start, place)


def damage(store: Path, chunk: int) -> None:
    """Change a few bytes in one chunk of ``/spectrogram``."""
    with h5py.File(store) as file:
        stored = file["spectrogram"].id.get_chunk_info(chunk)
    with store.open("r+b") as file:
        file.seek(stored.byte_offset + stored.size // 2)
        file.write(b"damaged")


def contents(store: Path) -> dict[str, bytes] | None:
    """All arrays and attributes of a store by name, but for those that differ each time."""
    if not store.exists():
        return None
    return _contents(store, hashlib.sha256(store.read_bytes()).digest())


@lru_cache
def _contents(store: Path, digest: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def take(name: str, owner: h5py.Group | h5py.Dataset) -> None:
        for key, value in owner.attrs.items():
            if not key.isupper() and key not in CHANGING:
                found[f"{name}@{key}"] = repr(value).encode()
        if isinstance(owner, h5py.Dataset):
            found[name] = f"{owner.dtype} {owner.shape} ".encode() + owner[()].tobytes()

    try:
        with h5py.File(store) as file:
            take("", file)
            file.visititems(take)
    except (OSError, RuntimeError, KeyError) as error:
        return {"unreadable": str(error).encode() + digest}
    return found


def wrong_ending(ended: Ended, fault: Fault, place: Path) -> list[str]:
    """What is wrong with how a run with a fault ended."""
    if fault.name in DEATHS:
        return [] if ended.code == -9 else [f"not killed: {ended.code} {ended.errors!r}"]
    if fault.name == "short":
        return [] if ended.code == 0 else [f"short write: {ended.code} {ended.errors!r}"]
    if ended.code == 0:
        return []
    lines = ended.errors.splitlines()
    if not lines:
        # the last look at a store that was repaired
        lines = [f"specctl: {line}" for line in ended.output.splitlines() if "cannot " in line]
    is_clear = (
        ended.code == 1
        and len(lines) == 1
        and lines[0].startswith("specctl: ")
        and "cannot " in lines[0]
        and str(place) in lines[0]
        and ERRNO[fault.name] in lines[0]
    )
    return [] if is_clear else [f"no clear error: {ended.code} {ended.errors!r}"]


def wrong_state(scenario: Scenario, found: dict[str, bytes] | None) -> list[str]:
    """What is wrong with the store that a run with a fault leaves: it is old, none or new."""
    if found in (scenario.old, scenario.wanted):
        return []
    return [f"neither the old store nor the new one: {differing(found or {}, scenario.wanted)}"]


def wrong_end(scenario: Scenario, place: Path) -> list[str]:
    """What is wrong after a run that says it is done."""
    found = contents(place / "o.h5") or {}
    wrong = [] if found == scenario.wanted else [f"differs: {differing(found, scenario.wanted)}"]
    beside = sorted(path.name for path in place.iterdir() if path.name != "o.h5")
    return wrong + ([f"left beside: {beside}"] if beside else [])


def differing(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Names of what is not the same."""
    return [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
