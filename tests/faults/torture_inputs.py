"""Bad audio among good, flipped bits, and fuzzing, at full size: for `tests.faults.torture`.

`bad_audio`, `flips` and `fuzzing` are one trial each and return what is wrong; the functions named
for sections make those of them.
"""

import json
import os
import struct
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from specctl.store.reader import open_store
from specctl.store.verify import verify_store
from tests.convert.audio_files import bad_files, noise, write
from tests.convert.bad_audio import CUT_FORMATS, bad_kinds, noise_bytes, ogg_pages, wav
from tests.convert.commands import run
from tests.convert.good_audio import write_good
from tests.faults.ledger import Section
from tests.fuzz.fuzz import fuzz
from tests.fuzz.targets import TARGETS
from tests.store.flips import STORES, missed_flips, store_of

N_BAD = 2000
N_BAD_AT_ONCE = 50
N_GOOD_AT_ONCE = 10
N_FLIPS = 10_000
N_FLIPS_AT_ONCE = 100
N_FUZZ_SEEDS = 23
"""With 20 s for each of eight kinds of file, an hour."""
FUZZ_SECONDS = 20.0
RATE = 16_000
FLAGS = ("--n-fft", 512, "--n-mels", 20, "--sample-rate", RATE, "--workers", 2)
FLAGS += ("--max-failures", 10_000)
CHECKED = ("flac", "ogg", "opus")
"""Formats whose frames or pages carry checksums, so that a hole in one shows."""


def bad_audio_section(_: object = None) -> Section:
    """``N_BAD`` bad files, each other than all others."""
    trials = {
        f"files {first} to {first + N_BAD_AT_ONCE - 1}": partial(bad_audio, first)
        for first in range(0, N_BAD, N_BAD_AT_ONCE)
    }
    return Section(
        "bad audio files",
        f"{N_BAD:,} bad files, {N_BAD_AT_ONCE} at a time among {N_GOOD_AT_ONCE} good ones: empty, "
        "cut anywhere, with holes, lying headers, values that are no sound, no audio at all, and "
        "a hundred kinds made by hand; each is in /errors, each good one as it is without them",
        trials,
    )


def flip_section(_: object = None) -> Section:
    """``N_FLIPS`` bits, half of them in the chunks."""
    trials = {
        f"{name}, seed {seed}": partial(flips, name, seed)
        for seed in range(1, N_FLIPS // N_FLIPS_AT_ONCE // len(STORES) + 2)
        for name in STORES
    }
    return Section(
        "flipped bits",
        f"{N_FLIPS:,} single bits of three kinds of small stores, {N_FLIPS_AT_ONCE} at a time: "
        "verify finds each one, and names the items that it is in",
        trials,
    )


def flips(name: str, seed: int) -> list[str]:
    """Some flips in a store of one kind."""
    with tempfile.TemporaryDirectory() as folder:
        missed = missed_flips(store_of(name, folder), N_FLIPS_AT_ONCE, seed)
    return [f"byte {place}: found {sorted(found)}" for place, found in missed]


def fuzz_section(_: object = None) -> Section:
    """An hour, round after round."""
    trials = {
        f"{name}, seed {seed}": partial(fuzzing, name, seed)
        for seed in range(1, N_FUZZ_SEEDS + 1)
        for name in TARGETS
    }
    return Section(
        "fuzzing",
        f"random damage to {', '.join(TARGETS)}, {FUZZ_SECONDS:g} s each round: no crash, no "
        "hang, no error of another kind or of many lines, no change to the file",
        trials,
    )


def fuzzing(name: str, seed: int, seconds: float = FUZZ_SECONDS) -> list[str]:
    """One kind of file for some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        return fuzz(name, Path(folder), seed, n_inputs=1, seconds=seconds).wrong


def bad_audio(first: int) -> list[str]:
    """Bad files ``first`` and those after it among good ones."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        bad = _write_bad(place / "mixed" / "bad", first)
        write_good(place / "mixed" / "good", N_GOOD_AT_ONCE)
        # so that good and bad alternate in the order of keys
        for path in sorted((place / "mixed" / "good").iterdir()):
            path.rename(place / "mixed" / "bad" / f"{int(path.name[:4]) * 5:02d} {path.name}")
        (place / "clean" / "bad").mkdir(parents=True)
        for path in (place / "mixed" / "bad").iterdir():
            if path.name not in bad:
                os.link(path, place / "clean" / "bad" / path.name)
        clean = run(place / "clean", place / "clean.h5", *FLAGS)
        if clean.returncode != 0:
            return [f"good files alone: {clean.returncode} {clean.stderr[-300:]}"]
        done = run(place / "mixed", place / "o.h5", *FLAGS, "--json")
        if done.returncode != 3:
            return [f"exit code {done.returncode}: {done.stderr[-300:]}"]
        wanted = {f"bad/{name}" for name in bad}
        return _wrong(place, wanted, json.loads(done.stdout))


def _wrong(place: Path, bad: set[str], summary: dict) -> list[str]:
    wrong = [f"store: {problem.message}" for problem in verify_store(place / "o.h5")]
    counts = [summary[f"n_{each}"] for each in ("converted", "failed", "skipped")]
    if summary["n_found"] != sum(counts) or summary["n_found"] != len(bad) + N_GOOD_AT_ONCE:
        wrong.append(f"{summary['n_found']} found, {counts} accounted for")
    with open_store(place / "o.h5") as store, open_store(place / "clean.h5") as clean:
        failed = dict(store.errors)
        wrong += [f"taken for good: {key}" for key in sorted(bad - set(failed))]
        wrong += [f"refused: {key}: {failed[key]}" for key in sorted(set(failed) - bad)]
        wrong += [f"no reason: {key}" for key, reason in failed.items() if len(reason) < 8]
        wrong += [f"lost or new: {key}" for key in sorted(set(store) ^ set(clean))]
        wrong += [
            f"differs: {key}"
            for key in clean
            if key in store and store[key].tobytes() != clean[key].tobytes()
        ]
    return wrong


def _write_bad(folder: Path, first: int) -> list[str]:
    """Write ``N_BAD_AT_ONCE`` bad files; their names."""
    folder.mkdir(parents=True)
    names = []
    for number in range(first, first + N_BAD_AT_ONCE):
        made = _by_hand()[number] if number < len(_by_hand()) else _made_up(number)
        name = f"{number % N_BAD_AT_ONCE:02d} {number} {made[0]}"
        (folder / name).write_bytes(made[1])
        names.append(name)
    return names


@cache
def _by_hand() -> list[tuple[str, bytes]]:
    """Name and content of the kinds that tests have."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch) / name for name in ("kinds", "files")]
        bad_kinds(folders[0], Path(scratch))
        bad_files(folders[1], Path(scratch))
        paths = [path for folder in folders for path in sorted(folder.iterdir())]
        return [(path.name, path.read_bytes()) for path in paths]


@cache
def _whole(seed: int) -> dict[str, bytes]:
    """Seconds of noise in each format."""
    with tempfile.TemporaryDirectory() as scratch:
        return {
            name: write(
                Path(scratch) / f"a.{name}", noise((3 + seed) * RATE, seed=seed), **options
            ).read_bytes()
            for name, options in {**CUT_FORMATS, "au": {}, "caf": {}, "w64": {}}.items()
        }


def _made_up(number: int) -> tuple[str, bytes]:
    """A file of a random kind, bad in a random way."""
    random = np.random.default_rng([7, number])
    makers: tuple[Callable[[np.random.Generator], tuple[str, bytes]], ...] = (
        *(_cut, _cut, _cut, _with_hole, _with_hole, _with_hole),
        *(_lying, _no_sound, _no_audio),
    )
    return makers[number % len(makers)](random)


def _cut(random: np.random.Generator) -> tuple[str, bytes]:
    whole = _whole(int(random.integers(4)))
    name = str(random.choice(sorted(whole)))
    data = whole[name]
    size = int(random.integers(1, len(data) * 19 // 20))
    if name in ("ogg", "opus"):
        # between two pages a recording may really end
        ends = set(np.cumsum([len(page) for page in ogg_pages(data)]).tolist())
        size -= size in ends
    return f"cut.{name}", data[:size]


def _with_hole(random: np.random.Generator) -> tuple[str, bytes]:
    whole = _whole(int(random.integers(4)))
    name = str(random.choice(CHECKED))
    data = bytearray(whole[name])
    place = int(random.integers(len(data) // 4, len(data) * 3 // 4))
    length = int(random.integers(8, 2000))
    if random.integers(2):
        del data[place : place + length]
    else:
        data[place : place + length] = random.bytes(length)
    return f"hole.{name}", bytes(data)


def _lying(random: np.random.Generator) -> tuple[str, bytes]:
    n_bytes = 2 * int(random.integers(100, RATE))
    lies = (
        {"rate": int(random.integers(0, 1000))},
        {"rate": int(random.integers(768_001, 2**32))},
        {"channels": int(random.integers(1025, 2**16))},
        {"claimed": n_bytes + int(random.integers(1, 2**30))},
        {"bits": int(random.choice([9, 11, 40, 65, 1000]))},
        {"tag": int(random.integers(0x4000, 0x6000))},
    )
    return "lying.wav", wav(n_bytes, **lies[random.integers(len(lies))])


def _no_sound(random: np.random.Generator) -> tuple[str, bytes]:
    samples = np.frombuffer(noise_bytes(2 * RATE), "<i2").astype("<f4") / 32768
    value = random.choice([np.nan, np.inf, -np.inf, 1e16, -1e30])
    samples[int(random.integers(len(samples)))] = value
    data = samples.tobytes()
    return "no sound.wav", wav(data=data, tag=3, bits=32)


def _no_audio(random: np.random.Generator) -> tuple[str, bytes]:
    ending = str(random.choice(["wav", "flac", "ogg", "mp3", "aiff", "m4a", "opus", "au"]))
    size = int(random.integers(0, 20_000))
    # a first byte that begins no format, MPEG audio above all
    text = b"<" + struct.pack("<I", size) * (size // 4)
    return f"no audio.{ending}", text if random.integers(2) else text[: size % 4]
