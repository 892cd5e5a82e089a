"""What is asked for: where the audio is, what it is called, and how the job is run."""

import hashlib
import json
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from multiprocessing import current_process
from pathlib import Path
from typing import Any, Self

from specctl.audio.discover import Discovery, discover
from specctl.audio.names import key_of, shared_name
from specctl.audio.real_paths import RealPaths
from specctl.cores import usable_cores
from specctl.errors import ParameterError
from specctl.given_files import MAX_TABLE_BYTES, check_given, read_label_rows, reported
from specctl.settings import check_fields

_MOST_WORKERS = 10_000
"""More than any machine has cores; a number beyond is a slip."""

_MAX_LABEL = 16_000
"""Characters: at most four bytes each, of which a text of a store may have 65,536."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a conversion is run.

    Which items there are depends on ``include``, ``exclude``, ``allow_truncated`` and ``basis``
    beside the settings, and their last bits on ``kernel`` and ``device``; on nothing else here.

    Parameters
    ----------
    include, exclude : str or sequence of str
        Patterns such as ``"*.flac"`` or ``"speech"``, matched against keys and the names of files
        and of the folders that they lie in.
    labels : "folder", Path or None
        Class of each file: the first folder of its key, or a CSV file with columns ``path``
        (relative, as keys are, or as files are called on the disk) and ``label``.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:0`` or several with commas.
    kernel : str
        ``auto`` or the name of a kernel.
    basis : str, optional
        Basis file with trained weights; its settings are those of the store.
    workers : int, optional
        Processes; 0 works in this one, on one device. By default one for each core that may be
        used, on a GPU no more than its memory has room for.
    scheduler : str, optional
        Address of a Dask scheduler, or the JSON file that it wrote, whose workers convert in place
        of processes of this machine. They see all files under the same paths.
    vram_budget : int, optional
        Bytes of device memory for the packs of all workers of a device; by default a quarter
        of what is free.
    overwrite : bool
        Replace a store that is there.
    update : bool
        Add new and changed files to a store that is there.
    prune : bool
        With ``update``, take out what it has of files that are not there any more.
    strict : bool
        Stop at the first file that fails.
    max_failures : int
        Stop when so many files in a row have failed.
    timeout : float
        Seconds without any progress after which a file is given up.
    allow_truncated : bool
        Convert what there is of files that are cut short; their items are marked. Not a number
        of whole files depends on it.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    labels: str | Path | None = None
    device: str = "auto"
    kernel: str = "auto"
    basis: str | None = None
    workers: int | None = None
    scheduler: str | None = None
    vram_budget: int | None = None
    overwrite: bool = False
    update: bool = False
    prune: bool = False
    strict: bool = False
    max_failures: int = 100
    timeout: float = 60.0
    allow_truncated: bool = False

    def __post_init__(self) -> None:
        # the characters of a pattern are patterns, too, and one of them may be a star
        taken: dict[str, Any] = {
            name: (value,)
            for name in ("include", "exclude")
            if isinstance(value := getattr(self, name), str)
        }
        for name in ("basis", "scheduler"):
            if isinstance(getattr(self, name), Path):
                taken[name] = str(getattr(self, name))
        check_fields(self, **taken)
        for name in ("include", "exclude"):
            if "" in getattr(self, name):
                raise ParameterError(
                    f"a pattern of {name} must not be empty; has a variable of the shell no value?"
                )
        if self.overwrite and self.update:
            raise ParameterError("overwrite and update must not both be given")
        if self.prune and not self.update:
            raise ParameterError("prune must be given with update")
        for name, value, least in (
            ("workers", self.workers, 0),
            ("max_failures", self.max_failures, 1),
            ("vram_budget", self.vram_budget, 1),
        ):
            if value is not None and value < least:
                raise ParameterError(f"{name} must be at least {least}, got {value}")
        if self.workers is not None and self.workers > _MOST_WORKERS:
            raise ParameterError(
                f"workers must be at most {_MOST_WORKERS:,}, got {self.workers:,}"
            )
        if not self.timeout > 0:
            raise ParameterError(f"timeout must be above 0 s, got {self.timeout:g}")

    @property
    def n_workers(self) -> int:
        """Processes to start, 0 for none: a worker of somebody's pool may have no children."""
        if self.workers is not None:
            return self.workers
        if current_process().daemon:
            return 0
        return usable_cores()


@dataclass(frozen=True, slots=True)
class Request:
    """Which files to convert, how they are labelled, and whether those cut short are taken.

    With ``prune`` a store that is updated loses those that are not there any more.
    """

    paths: tuple[Path, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    labels: str | Path | None
    allow_truncated: bool = False
    prune: bool = False

    @classmethod
    def of(cls, sources: Path | str | Iterable[Path | str], options: Options) -> Self:
        """What ``sources`` and ``options`` ask for."""
        if isinstance(sources, bytes) or not isinstance(sources, (str, Path, Iterable)):
            raise ParameterError(f"sources must name files or folders, got {sources!r}")
        given = [sources] if isinstance(sources, (str, Path)) else list(sources)
        if not given:
            raise ParameterError("sources must name at least one file or folder, got none")
        for source in given:
            if not isinstance(source, (str, Path)) or source == "":
                raise ParameterError(f"sources must name files or folders, got {source!r}")
        return cls(
            paths=tuple(map(Path, given)),
            include=options.include,
            exclude=options.exclude,
            labels=options.labels,
            allow_truncated=options.allow_truncated,
            prune=options.prune,
        )

    def identity(self) -> str:
        """SHA-256 that is equal for equal requests; says nothing about where files lie."""
        return _identity(self._asked())

    def difference(self, identity: str) -> str:
        """What another request is for, in words; empty for one of the same identity.

        An identity tells no more than whether a guess is right. Another table of labels, or other
        patterns than these or none, cannot be guessed.
        """
        if identity == self.identity():
            return ""
        here = self._asked()
        guesses = {
            "include": {here["include"], ()},
            "exclude": {here["exclude"], ()},
            "labels": {here["labels"], None, "folder"},
            "allow_truncated": {True, False},
        }
        for values in product(*guesses.values()):
            there = {**here, **dict(zip(guesses, values, strict=True))}
            if identity == _identity(there):
                return _in_words(there, here)
        return "other files, labels or patterns"

    def _asked(self) -> dict[str, Any]:
        """What decides about the identity."""
        labels = self.labels
        if labels not in (None, "folder"):
            check_given(Path(str(labels)), "labels", MAX_TABLE_BYTES)
            with reported(Path(str(labels)), "labels"):
                labels = hashlib.sha256(Path(str(labels)).read_bytes()).hexdigest()
        places = RealPaths()
        real_paths = {places.of(os.fsencode(str(path))) for path in self.paths}
        return {
            "paths": sorted({shared_name(os.fsdecode(path)) for path in real_paths}),
            "include": tuple(sorted({*self.include})),
            "exclude": tuple(sorted({*self.exclude})),
            "labels": labels,
            "allow_truncated": self.allow_truncated,
        }

    def discover(self) -> Discovery:
        """Find the files."""
        return discover(self.paths, include=self.include, exclude=self.exclude)

    def labels_of(self, keys: Sequence[str], others: Iterable[str] = ()) -> dict[str, str]:
        """Source key to label, for those of these that have one, and for all that a table names.

        ``others`` are keys that the table may name by their names on the disk, too.

        Raises
        ------
        ParameterError
            If the CSV cannot be read or lacks a column.
        """
        if self.labels is None:
            return {}
        if self.labels == "folder":
            return {key: key.split("/", 1)[0] for key in keys if "/" in key}
        return read_labels(Path(self.labels), {*keys, *others})


def _identity(asked: Mapping[str, Any]) -> str:
    *values, allow_truncated = asked.values()
    text = json.dumps([*values, *["allow_truncated"] * allow_truncated])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _in_words(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What the same sources were asked for with and without."""
    differing = [name for name in here if there[name] != here[name]]
    words: dict[str, list[str]] = {"with": [], "without": []}
    for name in differing:
        flag = f"--{name.replace('_', '-')}"
        value = " folder" if there[name] == "folder" else ""
        words["with" if there[name] else "without"].append(flag + value)
    how = ", ".join(f"{word} {' and '.join(flags)}" for word, flags in words.items() if flags)
    return f"the same {'sources' if {'include', 'exclude'} & {*differing} else 'files'} {how}"


def read_labels(path: Path, keys: Container[str] = ()) -> dict[str, str]:
    """A CSV file with the columns ``path`` and ``label``, as a dict.

    Parameters
    ----------
    keys : container of str
        Of files that are there, which the table may call by their names on the disk.

    Raises
    ------
    ParameterError
        If it cannot be read, is too large, lacks a column, has two labels for a path or one that
        no store can hold.
    """
    found: dict[str, str] = {}
    for line, row in read_label_rows(path):
        key, label = key_of(row["path"], keys), row["label"]
        if "\0" in label:
            raise ParameterError(f"label must not contain NUL, {path} has {label[:40]!r}")
        if len(label) > _MAX_LABEL:
            raise ParameterError(
                f"label must have at most {_MAX_LABEL:,} characters, {path} has one of "
                f"{len(label):,} for {key!r}"
            )
        if found.setdefault(key, label) != label:
            raise ParameterError(
                f"a path must have one label, line {line} of {path} has another for {key!r}"
            )
    return found
