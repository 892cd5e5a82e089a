"""Joining parts to one store, under its name, with nothing left beside it."""

import contextlib
from collections.abc import Container, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from specctl.basis import Basis
from specctl.basis.ordinary import checked_basis
from specctl.convert.access import copy_access
from specctl.convert.background import WORTH_A_THREAD, Background
from specctl.convert.folder import WorkFolder
from specctl.convert.jobs import Description, Job, part_path
from specctl.convert.settings import ConvertConfig
from specctl.convert.stored import STORE, check_no_other, job_of
from specctl.durable import check_replaced, is_there, publish
from specctl.errors import StoreError
from specctl.store.layout import Layout
from specctl.store.merge import Merger, MergeSummary, merging
from specctl.version import __version__


class Joining:
    """Joins the parts of a job, those that are there while others are still being made.

    A thread joins them, since the one that makes parts or hands them out is busy. The store is
    not written to under its name before `finish`. Where joining early fails, it is given up and
    done in one go at the end, which then says what is wrong. A context manager.

    Parameters
    ----------
    folder : WorkFolder
    job : Job
    layout : Layout
    n_parts : int
        Of the whole job.
    basis : str, optional
        File of the trained basis, if the settings name one.
    replaces : bool
        Whether a store of that name goes.
    """

    def __init__(
        self,
        folder: WorkFolder,
        job: Job,
        layout: Layout,
        n_parts: int,
        basis: str | None = None,
        *,
        replaces: bool = False,
    ) -> None:
        self._folder, self._job, self._layout = folder, job, layout
        self._config = ConvertConfig.from_dict(job.config)
        self._basis = basis
        self._n_parts = n_parts
        self._replaces = replaces
        self._replaced = {*job.replaced, *(job.pruned or ())}
        self._relabelled = dict(job.relabelled)
        self._n_joined = 0
        self._stack = contextlib.ExitStack()
        self._merger: Merger | None = None
        self._early: Background | None = None
        self._is_over = False
        # an update begins with a copy of the whole store, which may take long
        self._waits = job.update or n_parts < WORTH_A_THREAD

    def __enter__(self) -> "Joining":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._wait()
        self._stack.close()

    def advance(self, finished: Container[int]) -> None:
        """Begin to add the parts that come next, of those that are finished; does not wait."""
        if self._waits or not (self._early is None or self._early.is_over):
            return
        end = self._n_joined
        while end in finished:
            end += 1
        if end > self._n_joined:
            self._early = Background(partial(self._join_early, end))

    def _wait(self) -> None:
        if self._early is not None:
            self._early.wait()

    def _join_early(self, end: int) -> None:
        try:
            while self._n_joined < end and not self._is_over:
                self._add_next(self._opened())
        except Exception:  # whatever it is, it is met again at the end
            self._waits = True
            self._start_again()

    def finish(
        self, frequencies: np.ndarray, described: Description, unread: Mapping[str, str]
    ) -> MergeSummary:
        """Join what is left, publish the store, remove the working folder.

        Parameters
        ----------
        frequencies : ndarray, shape (n_bins,), Hz
        described : Description
        unread : mapping of str to str
            Sources that could not be read, to their labels: what an update has of them stays, and
            takes the label.

        Raises
        ------
        StoreError
            If the disk cannot take the store, the parts stay; if they cannot be removed, the
            store is complete.
        """
        self._wait()
        self._replaced -= unread.keys()
        self._relabelled |= unread
        try:
            with self._stack:
                merger = self._opened()
                while self._n_joined < self._n_parts:
                    self._add_next(merger)
                merger.finish(
                    frequencies=frequencies,
                    attributes=self._attributes(described),
                    basis=self._trained_basis(),
                )
        except StoreError as error:
            if self._folder.remove_damaged(self._n_parts):
                raise StoreError(f"{error}; the same command makes it again") from error
            raise
        summary = merger.summary(self._folder.merged.stat().st_size)
        self._check_place()
        copy_access(self._folder.store, self._folder.merged)
        publish(self._folder.merged, self._folder.store)
        try:
            self._folder.remove()
        except StoreError as error:
            raise StoreError(
                f"{error}; {self._folder.store} is complete, the same command tidies up"
            ) from error
        return summary

    def _check_place(self) -> None:
        """Refuse to replace what nobody knew of when this store was begun."""
        store = self._folder.store
        if self._job.update:
            self._check_base()
        elif self._replaces:
            check_replaced(store, STORE)
            check_no_other(store)
        elif is_there(store):
            raise StoreError(
                f"{store} has come from elsewhere meanwhile; pass --overwrite to finish the "
                f"conversion in {self._folder.path} and replace it"
            )

    def _check_base(self) -> None:
        """Refuse to update another store than the one that the parts were planned for."""
        if job_of(self._folder.store) != self._job.base:
            raise StoreError(
                f"{self._folder.store} is another store meanwhile, or gone; the same command "
                "begins again with what is there"
            )

    def _opened(self) -> Merger:
        if self._merger is None:
            if self._job.update:
                self._check_base()
            base: Path | None = self._folder.store if self._job.update else None
            self._merger = self._stack.enter_context(
                merging(
                    self._folder.merged,
                    layout=self._layout,
                    units=self._config.units,
                    long_name=self._config.long_name,
                    base=base,
                    replaced=self._replaced,
                    relabelled=self._relabelled,
                    forgotten=self._job.forgotten,
                    # of a repair, statistics and items without a source may be damaged
                    is_trusted=self._job.repaired is None,
                )
            )
        return self._merger

    def _add_next(self, merger: Merger) -> None:
        merger.add(part_path(self._folder.path, self._n_joined), self._job.id)
        self._n_joined += 1

    def _start_again(self) -> None:
        with contextlib.suppress(Exception):
            self._stack.close()
        self._merger, self._n_joined = None, 0

    def _trained_basis(self) -> Basis | None:
        if self._config.basis is None:
            return None
        return checked_basis(self._basis, self._config.basis, self._config.spectrogram)

    def _attributes(self, described: Description) -> dict[str, str | int | float]:
        return {
            "config": self._config.to_json(),
            "fingerprint": self._config.fingerprint(),
            "specctl_version": __version__,
            "job": self._job.id,
            "request": self._job.request,
            "kernel": described.kernel,
            "device": described.devices[0].partition(":")[0],
        }
