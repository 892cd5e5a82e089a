"""What a finished store says about the conversion that made it."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specctl.audio.discover import Source
from specctl.audio.source import SourceFile
from specctl.convert.plan import PlannedSource
from specctl.convert.settings import stored_rate
from specctl.convert.summary import Summary
from specctl.durable import Kind, reported_os_errors
from specctl.errors import AudioError, StoreError
from specctl.presence import exists, is_regular_file
from specctl.store.hdf5 import is_from_system
from specctl.store.layout import FORMAT
from specctl.store.reader import open_store
from specctl.store.safety import CheckedFile

_HDF5 = b"\x89HDF\r\n\x1a\n"

STORE = Kind("HDF5 file", "stores", lambda start: start.startswith(_HDF5))
"""A store, damaged perhaps."""


_COMPARED = 8
"""Files that are read to see whether a folder is a copy."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished store; the columns are one entry for each source, failed ones included.

    ``known`` has size and time of change of each, ``failed`` the reason of each that failed,
    ``labels`` the label of each that did not.
    """

    path: Path
    config: dict[str, Any]
    job: str
    kernel: str
    request: str
    n_items: int
    n_frames: int
    n_bytes: int
    known: dict[str, tuple[int, int]]
    failed: dict[str, str]
    labels: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> "Finished":
        """Read the tables of a store.

        Raises
        ------
        StoreError
            If it is no store, or one that this version cannot read.
        """
        with open_store(path) as store:
            attributes, source = store.attributes, store.column("source")
            stamps = zip(store.column("size"), store.column("mtime_ns"), strict=True)
            known = dict(zip(source, stamps, strict=True))
            failures = store.failures
            known.update((each.key, (each.size, each.mtime_ns)) for each in failures)
            return cls(
                path=path,
                config=store.config,
                job=str(attributes.get("job", "")),
                kernel=str(attributes.get("kernel", "")),
                request=str(attributes.get("request", "")),
                n_items=len(store),
                n_frames=store.n_frames,
                n_bytes=store.n_bytes,
                known={key: (int(size), int(mtime)) for key, (size, mtime) in known.items()},
                failed={each.key: each.reason for each in failures},
                labels=dict(zip(source, store.labels, strict=True)),
            )

    def changed(self, sources: Sequence[Source]) -> list[Source]:
        """Sources that are new here, differ in size or time of change, or failed before."""
        return [source for source in sources if source.key in self.failed or not self._has(source)]

    def relabelled(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Those of the labels, by source, that differ from the ones here."""
        return {key: label for key, label in labels.items() if label != self.labels[key]}

    def has_failed(self, source: Source) -> bool:
        """Whether a source failed before and is unchanged since."""
        return source.key in self.failed and self._has(source)

    def has_failed_alike(
        self, sources: Sequence[PlannedSource], failures: Sequence[tuple[str, str]]
    ) -> bool:
        """Whether all of these failed before, unchanged since and for the reasons given.

        What is here of one of them has the label that it is to have.
        """
        reasons = dict(failures)
        return all(
            self._has(source)
            and self.failed.get(source.key) == reasons.get(source.key, "")
            and self.labels.get(source.key, source.label) == source.label
            for source in sources
        )

    def check_related(self, sources: Sequence[Source]) -> None:
        """Raise StoreError if these are other files of the same names, or the same under others.

        Keys start at the folder that was given; files of another one could take the places of
        those that are here, or be here twice. None of that where one is found in its place.
        """
        if any(self._has(source) for source in sources) or self._is_copied_in(sources):
            return
        advice = "update it with the folder that it was made from"
        names = {(_name(key), *stamp): key for key, stamp in self.known.items()}
        for source in sources:
            key = source.key
            if key in self.known and key not in self.failed:
                raise StoreError(
                    f"{self.path} has other files of the same names, such as {key}; {advice}, or "
                    "convert these to a store of their own"
                )
            here = names.get((_name(key), source.size, source.mtime_ns), "")
            if here.endswith(f"/{key}") or (here and key.endswith(f"/{here}")):
                raise StoreError(f"{self.path} has {key} already, as {here}; {advice}")

    def summary(
        self,
        n_unchanged: int = 0,
        skipped: Sequence[tuple[str, str]] = (),
        failures: Sequence[tuple[str, str]] = (),
        **told: Any,
    ) -> Summary:
        """What a run that leaves it as it is tells of it; ``told`` are fields of a summary."""
        return Summary(
            store=self.path,
            status="complete",
            n_found=n_unchanged + len(skipped) + len(failures),
            n_failed=len(failures),
            n_unchanged=n_unchanged,
            n_skipped=len(skipped),
            n_items=self.n_items,
            n_frames=self.n_frames,
            n_bytes=self.n_bytes,
            sample_rate=stored_rate(self.config),
            failures=tuple(failures),
            skipped=tuple(skipped),
            **told,
        )

    def _is_copied_in(self, sources: Sequence[Source]) -> bool:
        """Whether most of the files of the same names are those that are here, dated anew.

        That is, they are as long, and the smallest of them hold the same bytes.
        """
        named = [
            source
            for source in sources
            if source.key in self.known and source.key not in self.failed
        ]
        alike = [source for source in named if self.known[source.key][0] == source.size]
        if 2 * len(alike) <= len(named):
            return False
        with open_store(self.path) as store:
            hashes = dict(zip(store.column("source"), store.column("sha256"), strict=True))
        smallest = sorted(alike, key=lambda source: source.size)[:_COMPARED]
        return all(difference(source, hashes[source.key]) is None for source in smallest)

    def _has(self, source: Source | PlannedSource) -> bool:
        return self.known.get(source.key) == (source.size, source.mtime_ns)


def difference(source: Source, sha256: str) -> str | None:
    """Why a file has not the bytes that it had; ``None`` if it has."""
    try:
        with SourceFile(source.path) as file:
            return None if file.sha256() == sha256 else "has changed"
    except AudioError as error:
        return f"cannot be read: {error}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _name(key: str) -> str:
    return key.rsplit("/", 1)[-1]


def job_of(path: Path) -> str:
    """The id of the job that made a store; empty where there is none, or no store.

    Raises
    ------
    StoreError
        If the system does not let the file be read.
    """
    if not exists(path):
        return ""
    try:
        with closing(CheckedFile(path)) as file:
            return str(file.attribute("job") or "")
    except StoreError as error:
        if is_from_system(error):
            raise
        return ""


def check_no_other(path: Path) -> None:
    """Refuse to replace an HDF5 file of something else; what is damaged cannot be told apart.

    Raises
    ------
    StoreError
        If it is one, or the system does not let the file be read.
    """
    if not exists(path):
        return
    try:
        with closing(CheckedFile(path)) as file:
            is_store = file.has("spectrogram") and file.attribute("format") == FORMAT
    except StoreError as error:
        if is_from_system(error):
            raise
        return
    if not is_store:
        raise StoreError(f"{path} is an HDF5 file, but no store; --overwrite replaces stores only")


def may_be_store(path: Path) -> bool:
    """Whether nothing but a store, damaged perhaps, would be lost with a file.

    Raises
    ------
    StoreError
        If the system does not let the file be read.
    """
    with reported_os_errors(path, "read"):
        if not exists(path):
            return True
        if not is_regular_file(path):
            return False
        with path.open("rb") as file:
            return file.read(len(_HDF5)) in (b"", _HDF5)
