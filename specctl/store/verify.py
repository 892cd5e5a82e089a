"""Proving that a store holds what was written to it: every byte of every item is read once."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from specctl.errors import StoreError
from specctl.store.basis_table import stored_basis
from specctl.store.examine import examine, spans
from specctl.store.layout import FILL_VALUE
from specctl.store.stats import Moments
from specctl.store.store_file import StoreFile
from specctl.store.tables import decode_text

# float64 sums of a long store, in another order than they were made in
_STATS_TOLERANCE = 1e-8


class Problem(NamedTuple):
    """Something wrong with the item ``key``, or with the store where ``key`` is empty."""

    key: str
    message: str


def verify_store(
    path: str | Path, progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Check a store from end to end.

    The index against its checksum, every chunk against its checksum, every item against its
    digest, and every other byte of the file against the seal; that items lie inside the array
    and do not overlap, that padding holds the fill value, that values are finite, and that the
    statistics are those of the frames.

    Parameters
    ----------
    progress : callable, optional
        Called with the rows done and the rows there are.

    Returns
    -------
    list of Problem
        Empty where all is good. A file that cannot be opened as a store is one problem.
    """
    try:
        return find_problems(path, progress)
    except StoreError as error:
        return [Problem("", str(error))]


def find_problems(
    path: str | Path, progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Check a store as `verify_store` does; nothing is known of one that cannot be opened.

    Raises
    ------
    StoreError
        The file cannot be opened as a store.
    """
    with StoreFile(Path(path)) as file:
        return _Check(file, progress).run()


class _Check:
    """One pass over a store; items are read by several threads, and told in their order."""

    def __init__(self, file: StoreFile, progress: Callable[[int, int], None] | None) -> None:
        self._file = file
        self._progress = progress
        self._problems: list[Problem] = []
        self._moments = Moments.empty(file.layout.width)

    def run(self) -> list[Problem]:
        with self._reported(b""):
            self._file.check_tables()
            self._file.check_settings()
            # where the tables are damaged, the seal has nothing to add
            self._file.check_seal()
        self._check_names()
        self._check_basis()
        if not self._check_overlap():
            self._check_rows()
            if not self._problems:
                # damaged numbers may be anything
                with np.errstate(all="ignore"):
                    self._check_stats()
        return self._problems

    def _report(self, message: str, key: bytes = b"") -> None:
        problem = Problem(decode_text(key), message)
        # padding of one chunk may lie in many places
        if key or problem not in self._problems:
            self._problems.append(problem)

    def _check_names(self) -> None:
        for group, table in {"/index": self._file.index, "/errors": self._file.errors}.items():
            keys = table["key"].tolist()
            if b"" in keys or len(set(keys)) < len(keys):
                self._report(f"{group} has an empty key, or one that comes twice")

    def _check_basis(self) -> None:
        with self._reported(b""):
            try:
                config = json.loads(self._file.attributes.get("config", ""))
            except (TypeError, ValueError, RecursionError):
                config = None
            named = config.get("basis") if isinstance(config, dict) else None
            if self._file.basis is not None and isinstance(config, dict):
                stored_basis(self._file.path, self._file.basis, config)
            elif named is not None:
                raise StoreError("its settings name a basis, /basis is missing")

    def _check_overlap(self) -> bool:
        """Whether rows belong to two items; such stores could make reading take for ever."""
        overlapping = self._file.overlapping()
        for row in overlapping:
            self._report("shares frames with another item", self._file.index["key"][row])
        return len(overlapping) > 0

    def _check_rows(self) -> None:
        done = 0
        for span, found in examine(self._file, spans(self._file, self._file.order())):
            self._check_padding(done, span.start)
            if isinstance(found, Moments):
                self._moments.add(found)
            else:
                self._report(str(found), bytes(self._file.index["key"][span.row]))
            done = span.stop
            if self._progress is not None:
                self._progress(done, self._file.n_rows)
        self._check_padding(done, self._file.n_rows)

    def _check_padding(self, start: int, stop: int) -> None:
        with self._reported(b""):
            for rows in self._file.slabs(start, stop):
                # bytes, so that -0.0 and NaN are not 0 either
                if rows.view(np.uint8).any():
                    raise StoreError(
                        f"rows {start} to {stop - 1} belong to no item "
                        f"and do not hold the fill value {FILL_VALUE}"
                    )

    def _check_stats(self) -> None:
        found, wanted = self._file.moments, self._moments
        if found.count != wanted.count:
            self._report(f"stats count {found.count} frames, the items have {wanted.count}")
            return
        # rounding moves a mean or a standard deviation at most by its own worst error
        slack = _STATS_TOLERANCE * (abs(wanted.mean) + wanted.std)
        slack = slack + self._file.layout.max_error * (1 + _STATS_TOLERANCE)
        for name, off in {
            "mean": abs(found.mean - wanted.mean),
            "std": abs(found.std - wanted.std),
        }.items():
            if not (off <= slack).all():
                self._report(f"stats/{name} is not that of the frames, off by up to {off.max():g}")

    @contextlib.contextmanager
    def _reported(self, key: bytes) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._report(str(error), key)
