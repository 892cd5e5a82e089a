"""What torture has tried: sections of trials, a ledger of those done, and a table of it all.

A section is added by adding to `tests.faults.torture.SECTIONS`; the rest follows.
"""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy
import soundfile

import specctl

MOST_SHOWN = 20
"""Failures of a section that the table lists."""


@dataclass(frozen=True)
class Section:
    """Trials of one kind.

    Parameters
    ----------
    name : str
    what : str
        What is tried and must hold, in a sentence.
    trials : mapping of str to callable
        Name of each trial, by which it is known as done, and the trial itself: it returns what
        is wrong.
    skipped : str
        Why there are none, if there are none.
    """

    name: str
    what: str
    trials: dict[str, Callable[[], list[str]]]
    skipped: str = ""


@dataclass
class Ledger:
    """The trials done, one line of JSON each; those of another program do not count.

    ``subject`` names the program; ``done`` is what was wrong, by section and trial.
    """

    path: Path
    subject: str
    done: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for line in self._lines():
            if line.get("subject") == self.subject:
                self.done.setdefault(line["section"], {})[line["trial"]] = line["wrong"]

    def add(self, section: str, trial: str, wrong: list[str]) -> None:
        """Note a trial as done."""
        self.done.setdefault(section, {})[trial] = wrong
        self.path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"subject": self.subject, "section": section, "trial": trial, "wrong": wrong}
        # the line before may lack its end, where the run that wrote it was killed
        is_torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a") as file:
            file.write("\n" * is_torn + json.dumps(entry) + "\n")

    def _lines(self) -> Iterator[dict]:
        if not self.path.exists():
            return
        for line in self.path.read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                # the run that wrote it was killed
                continue


def run_sections(
    sections: list[Section],
    ledger: Ledger,
    seconds: float,
    report: Callable[[str, int], None] = lambda section, n: None,
    clock: Callable[[], float] = time.monotonic,
    keep: Callable[[str, str], None] = lambda section, trial: None,
) -> None:
    """Try what is not done yet, each section for as long as the others, until time is over.

    ``keep`` is told of each trial that fails, while what it has left is still there.
    """
    end = clock() + seconds
    spent = {section.name: 0.0 for section in sections}
    left = {
        section.name: [name for name in section.trials if name not in done]
        for section in sections
        for done in [ledger.done.get(section.name, {})]
    }
    by_name = {section.name: section for section in sections}
    while clock() < end and any(left.values()):
        name = min((each for each in left if left[each]), key=lambda each: spent[each])
        trial = left[name].pop(0)
        began = clock()
        wrong = _wrong(by_name[name].trials[trial])
        if wrong:
            keep(name, trial)
        ledger.add(name, trial, wrong)
        spent[name] += clock() - began
        report(name, sum(map(len, ledger.done.values())))


def _wrong(trial: Callable[[], list[str]]) -> list[str]:
    """What a trial finds; one that cannot come to its end has found something too."""
    try:
        return trial()
    except Exception as error:  # the other trials go on
        return [f"{type(error).__name__}: {error}"]


def table(sections: list[Section], ledger: Ledger) -> str:
    """A Markdown report of all sections, failures included."""
    rows, failures = [], []
    for section in sections:
        done = ledger.done.get(section.name, {})
        wrong = {trial: found for trial, found in done.items() if found}
        n_trials = f"{len(done):,} of {len(section.trials):,}"
        if section.skipped:
            n_trials = f"none: {section.skipped}"
        rows.append(f"| {section.name} | {section.what} | {n_trials} | {len(wrong)} |")
        failures += [
            f"- {section.name}, {trial}: {'; '.join(found)[:300]}"
            for trial, found in list(wrong.items())[:MOST_SHOWN]
        ]
    n_trials = sum(map(len, ledger.done.values()))
    n_wrong = sum(bool(found) for done in ledger.done.values() for found in done.values())
    lines = [
        "# Reliability of this version",
        "",
        "Made by `make torture`, which tries to break a conversion in every way it knows, and not",
        "edited by hand. A trial fails if anything is lost, doubled, differs by a byte from what",
        "an undisturbed run makes, is left beside the store, or ends in an error of many lines.",
        "",
        f"{n_trials:,} trials, {n_wrong:,} failures; {_versions(ledger.subject)}.",
        "",
        "| section | what is tried and must hold | trials | failures |",
        "|---|---|---|---|",
        *rows,
        "",
        "The order is random, the same each time: where not all trials are done, those that are",
        "stand for the rest. No failure in n trials means fewer than 3 / n in the long run, 19",
        "times in 20.",
        "",
        "## Failures",
        "",
        *(failures or ["None."]),
    ]
    return "\n".join(lines) + "\n"


def subject() -> str:
    """The program under test: a digest of its sources and of the libraries that read and write."""
    digest = hashlib.sha256(_libraries().encode())
    for path in sorted(Path(specctl.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _versions(subject: str) -> str:
    date = datetime.now(UTC).strftime("%d %B %Y").lstrip("0")
    return f"{date}, specctl {specctl.__version__} ({subject}), {_libraries()}"


def _libraries() -> str:
    return (
        f"Python {platform.python_version()}, NumPy {numpy.__version__}, "
        f"h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}, "
        f"libsndfile {soundfile.__libsndfile_version__}, {platform.system()} {platform.machine()}"
    )
