"""Random damage to what strangers may send, read in a child process that may not die of it.

``python -m tests.fuzz.fuzz TARGET FOLDER SEED FIRST LAST UNTIL`` reads these inputs, then more
until a time, and prints what it saw. An input that kills can be made again by its number.
"""

import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from specctl.store.reader import open_store
from tests.convert.commands import run

from .damage import damaged

DECODED = ("audio", "audio of FFmpeg")
"""For decoders of others, which may die: a conversion has them in processes of their own."""

MEMORY = 3 << 30
"""Bytes of address space of the child; libraries alone take a third."""


@dataclass
class Fuzzed:
    """What became of the inputs; ``wrong`` names those that were not just read or refused."""

    n_inputs: int = 0
    n_refused: int = 0
    n_readable: int = 0
    wrong: list[str] = field(default_factory=list)


class _TooLong(BaseException):
    """An input took too long."""


def _stop(*_: object) -> None:
    raise _TooLong


def read_all(name: str, folder: Path, seed: int, first: int, last: int, until: float) -> Fuzzed:
    """Damage and read files in this process: inputs ``first`` to ``last``, then until a time."""
    from .bad_readers import BAD_READERS
    from .targets import TARGETS

    target, result = {**TARGETS, **BAD_READERS}[name], Fuzzed()
    path, current = folder / "fuzzed", folder / "current"
    with tempfile.TemporaryDirectory() as scratch:
        seeds = target.seeds(Path(scratch))
    signal.signal(signal.SIGALRM, _stop)
    number = first
    while number < last or time.time() < until:
        data = damaged(seeds, seed, number, target.words)
        if target.mend is not None and number % 2:
            target.mend(data)
        current.write_text(str(number))
        path.write_bytes(data)
        before = path.stat()
        what = f"{name}, seed {seed}, input {number}"
        signal.alarm(target.seconds)
        try:
            target.read(path, number)
            result.n_readable += 1
        except target.error as error:
            result.n_refused += 1
            if "\n" in str(error) or not str(error):
                result.wrong.append(f"{what}: not one line: {error!r}")
        except (Exception, _TooLong) as error:  # what else is raised is what is looked for
            result.wrong.append(f"{what}: {type(error).__name__}: {error}")
        signal.alarm(0)
        after = path.stat()
        if (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns):
            result.wrong.append(f"{what}: the file was changed")
        result.n_inputs += 1
        number += 1
    return result


def fuzz(name: str, folder: Path, seed: int, n_inputs: int, seconds: float = 0) -> Fuzzed:
    """Damage and read files in child processes, a new one after each death.

    Parameters
    ----------
    name : str
        One of `tests.fuzz.targets.TARGETS`.
    n_inputs : int
        Read in any case.
    seconds : float
        More are read until so much time has passed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total, first, until = Fuzzed(), 0, time.time() + seconds
    while first < n_inputs or time.time() < until:
        command = [sys.executable, "-m", "tests.fuzz.fuzz", name, folder, seed, first, n_inputs]
        done = subprocess.run(
            [*map(str, command), repr(until)],
            check=False,
            capture_output=True,
            cwd=Path(__file__).parents[2],
        )
        if done.returncode == 0:
            part = Fuzzed(**json.loads(done.stdout.splitlines()[-1]))
            first += part.n_inputs
        else:
            ending = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [""]
            if not (folder / "current").exists():
                raise RuntimeError(f"{name} cannot begin: {ending[0]}")
            number = int((folder / "current").read_text())
            part = Fuzzed(n_inputs=number + 1 - first)
            if name in DECODED and costs_itself_alone(folder / "fuzzed"):
                part.n_refused += 1
            else:
                what = f"{name}, seed {seed}, input {number}"
                part.wrong.append(f"{what}: {done.returncode} {ending[0]}")
            first = number + 1
        total.n_inputs += part.n_inputs
        total.n_refused += part.n_refused
        total.n_readable += part.n_readable
        total.wrong += part.wrong
    return total


def costs_itself_alone(path: Path) -> bool:
    """Whether a conversion that comes upon a file which kills its decoder does all the rest."""
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name) / "in", Path(name) / "o.h5"
        folder.mkdir()
        shutil.copyfile(path, folder / "bad.wav")
        soundfile.write(folder / "good.wav", np.full(4000, 0.1), 16_000, subtype="PCM_16")
        done = run(folder, store, "--sample-rate", 16_000, "--workers", 1)
        if done.returncode != 3:
            return False
        with open_store(store) as finished:
            return list(finished) == ["good.wav"] and list(dict(finished.errors)) == ["bad.wav"]


def main() -> None:
    """The child."""
    name, folder, seed, first, last, until = sys.argv[1:]
    # not of addresses: a torch for GPUs maps gigabytes of libraries
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    result = read_all(name, Path(folder), int(seed), int(first), int(last), float(until))
    print(json.dumps(vars(result)))  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main()
