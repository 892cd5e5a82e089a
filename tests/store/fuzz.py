"""Random damage to small stores, read in a child process that may not die of it.

``python -m tests.store.fuzz FOLDER SEED FIRST END`` reads these inputs and prints what it saw.
Input i of a seed is always the same, so that one that kills can be made again.
"""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from specctl.errors import StoreError
from specctl.store.reader import open_store
from specctl.store.verify import verify_store

from .stores import make_store, small_layout

MEMORY = 3 << 30
"""Bytes of address space of the child; libraries alone take a third."""

SECONDS = 10
"""After which an input counts as a hang."""

_NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
    2**40,
    2**63,
    2**64 - 1,
)


@dataclass
class Fuzzed:
    """What became of the inputs."""

    n_inputs: int = 0
    n_refused: int = 0
    n_readable: int = 0
    bugs: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)


def flip(data: bytearray, random: np.random.Generator) -> None:
    """A few bits."""
    for place in random.integers(len(data), size=random.integers(1, 9)):
        data[place] ^= 1 << int(random.integers(8))


def overwrite(data: bytearray, random: np.random.Generator) -> None:
    """A number that is at the edge of something, in 1 to 8 bytes."""
    width = int(random.choice([1, 2, 4, 8]))
    value = _NUMBERS[random.integers(len(_NUMBERS))] % 256**width
    place = int(random.integers(len(data) - 8))
    data[place : place + width] = value.to_bytes(width, "little")


def copy(data: bytearray, random: np.random.Generator) -> None:
    """A stretch over another one."""
    first, second = (int(random.integers(len(data) - 512)) for _ in range(2))
    length = int(random.integers(1, 512))
    data[second : second + length] = data[first : first + length]


def noise(data: bytearray, random: np.random.Generator) -> None:
    """A stretch of random bytes."""
    place, length = int(random.integers(len(data) - 64)), int(random.integers(1, 64))
    data[place : place + length] = random.bytes(length)


def cut(data: bytearray, random: np.random.Generator) -> None:
    """The end is missing."""
    del data[int(random.integers(len(data) // 2, len(data))) :]


def insert(data: bytearray, random: np.random.Generator) -> None:
    """Everything behind a place moves."""
    place = int(random.integers(len(data)))
    data[place:place] = random.bytes(int(random.integers(1, 16)))


_DAMAGES: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    *(flip, flip, overwrite, overwrite, overwrite, copy, noise, cut, insert),
)


def seeds(folder: Path) -> list[bytes]:
    """Good stores of several kinds."""
    made = []
    for name, layout in {
        "gzip": small_layout(),
        "plain": small_layout("uint8", "none"),
        "complex": small_layout(is_complex=True),
    }.items():
        (folder / name).mkdir(exist_ok=True)
        made.append(make_store(folder / name, layout, lengths=(5, 9)).path.read_bytes())
    return made


def damaged(stores: list[bytes], seed: int, number: int) -> bytes:
    """Input ``number`` of a seed."""
    random = np.random.default_rng([seed, number])
    data = bytearray(stores[number % len(stores)])
    for _ in range(int(random.integers(1, 4))):
        _DAMAGES[random.integers(len(_DAMAGES))](data, random)
    return bytes(data)


def read_everything(path: Path) -> None:
    """All that a store can be asked for."""
    with open_store(path) as store:
        _ = store.attributes, store.config, store.errors, store.classes, store.mean, store.std
        for key in store:
            store.record(key)
            store[key]


def read_all(folder: Path, seed: int, numbers: range) -> Fuzzed:
    """Damage and read stores in this process."""
    result = Fuzzed()
    stores, path, current = seeds(folder), folder / "fuzzed.h5", folder / "current"
    for number in numbers:
        current.write_text(str(number))
        path.write_bytes(damaged(stores, seed, number))
        signal.alarm(SECONDS)
        try:
            verify_store(path)
            read_everything(path)
            result.n_readable += 1
        except StoreError:
            result.n_refused += 1
        except Exception as error:  # what else a reader may raise is what is looked for
            result.bugs.append(f"input {number} of seed {seed}: {type(error).__name__}: {error}")
        signal.alarm(0)
        result.n_inputs += 1
    return result


def fuzz(folder: Path, seed: int, n_inputs: int) -> Fuzzed:
    """Damage and read stores in child processes, a new one after each death."""
    folder.mkdir(parents=True, exist_ok=True)
    total, first = Fuzzed(), 0
    while first < n_inputs:
        command = [sys.executable, "-m", "tests.store.fuzz", folder, seed, first, n_inputs]
        done = subprocess.run(
            [str(each) for each in command],
            check=False,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        if done.returncode == 0:
            part = Fuzzed(**json.loads(done.stdout.splitlines()[-1]))
            first = n_inputs
        else:
            number = int((folder / "current").read_text())
            part = Fuzzed(n_inputs=number + 1 - first)
            ending = done.stderr.strip().splitlines()[-1:] or [""]
            part.deaths.append(f"input {number} of seed {seed}: {done.returncode} {ending[0]}")
            first = number + 1
        total.n_inputs += part.n_inputs
        total.n_refused += part.n_refused
        total.n_readable += part.n_readable
        total.bugs += part.bugs
        total.deaths += part.deaths
    return total


def rounds(folder: Path, n_inputs: int = 5000) -> Iterator[tuple[int, Fuzzed]]:
    """Seed after seed without end, for as long as somebody asks."""
    seed = 1
    while True:
        yield seed, fuzz(folder, seed, n_inputs)
        seed += 1


def main() -> None:
    """The child."""
    folder, seed, first, last = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    result = read_all(Path(folder), int(seed), range(int(first), int(last)))
    print(json.dumps(vars(result)))  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main()
