"""What lies where a store is to be: nothing, a finished store, or a conversion that was begun."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from specctl.convert.finding import Found
from specctl.convert.folder import WorkFolder
from specctl.convert.jobs import Job
from specctl.convert.plan import Plan
from specctl.convert.request import Options, Request
from specctl.convert.settings import GivenSettings
from specctl.convert.stored import STORE, Finished, check_no_other, job_of, may_be_store
from specctl.convert.summary import Summary
from specctl.durable import check_owner, check_place, check_replaced, reported_os_errors
from specctl.errors import StoreError
from specctl.presence import exists
from specctl.version import __version__


@dataclass(frozen=True, slots=True)
class Target:
    """A store to be, and what is asked for.

    ``repaired`` and ``forgotten`` are as in `specctl.convert.run`.
    """

    store: Path
    request: Request
    given: GivenSettings
    options: Options
    repaired: tuple[str, ...] | None = None
    forgotten: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise StoreError where no store can be, or should be."""
        check_place(self.store)
        if self.options.overwrite:
            check_replaced(self.store, STORE)
            check_no_other(self.store)
        elif not may_be_store(self.store):
            raise StoreError(
                f"{self.store} already exists and is no store; the store to make is given last"
            )
        elif self.options.update:
            check_owner(self.store)
        with reported_os_errors(self.store):
            # the longer of the two names
            exists(WorkFolder(self.store).path)
            if exists(self.store) and not (self.options.overwrite or self.store.stat().st_size):
                raise StoreError(f"{self.store} is an empty file; pass --overwrite to replace it")

    @property
    def is_finished(self) -> bool:
        """Whether there is a store that nobody asked to change."""
        return exists(self.store) and not (self.options.overwrite or self.options.update)

    def already_there(self) -> Summary:
        """The store is finished: say so, or refuse if it is not what was asked for."""
        finished = Finished.read(self.store)
        differing = self._differences(finished.config, finished.kernel)
        if differing:
            raise StoreError(
                f"{self.store} already exists with other settings: {differing}; "
                "pass --overwrite to replace it"
            )
        differing = self.request.difference(finished.request)
        if differing:
            raise StoreError(
                f"{self.store} already exists, made from {differing}; pass --overwrite to replace "
                "it or --update to add to it"
            )
        return replace(finished.summary(), n_failed_before=len(finished.failed))

    def nothing_new(self, base: Finished, found: Found) -> Summary:
        """The store has all that was found."""
        differing = self._differences(base.config, base.kernel)
        if differing:
            raise StoreError(f"{self.store} was made with other settings: {differing}")
        return base.summary(
            found.n_unchanged,
            found.skipped_reasons,
            patterns_unused=found.patterns_unused,
            n_unlabelled=found.n_unlabelled,
            n_labels_unused=found.n_labels_unused,
            n_gone=found.n_gone,
        )

    def _differences(self, stored: Mapping[str, Any], kernel: str) -> str:
        """In what these settings differ from ``stored``, had they found the rate it has."""
        return self.given.compared(stored, kernel, self.options.kernel)[1]

    def begun(self, folder: WorkFolder, *, tidies: bool = True) -> tuple[Job, Plan] | None:
        """The unfinished job to go on with; ``None`` to plan a new one.

        Of a store that was finished just before a kill, ``tidies`` removes what is left.
        """
        try:
            if tidies:
                folder.adopt_repair()
            job = self._same_job(folder, tidies)
            return (job, folder.read_plan(job)) if job is not None else None
        except StoreError:
            if self.options.overwrite:
                return None
            raise

    def _same_job(self, folder: WorkFolder, tidies: bool) -> Job | None:
        """The unfinished job, if there is one; an error if it is not what was asked for."""
        job = folder.read_job()
        if job is not None and job.id == job_of(self.store):
            # killed between giving the store its name and removing the folder
            if tidies:
                folder.clear()
            return None
        if job is None or self._starts_anew(job):
            return None
        if job.repaired is not None and self.repaired is None:
            # what it was to mend is in the store as before
            return None
        differing = self._differences(job.config, job.kernel)
        if job.version != __version__:
            differing = f"specctl {job.version} there, {__version__} here"
        if not differing:
            differing = self.request.difference(job.request)
        if not differing and job.update and not self.options.update:
            differing = "--update there"
        if not differing and not job.update and self.options.update and exists(self.store):
            differing = "--update here"
        if not differing and job.update and (job.pruned is not None) != self.options.prune:
            differing = "--prune here" if self.options.prune else "--prune there"
        if differing:
            # to overwrite would take the finished store, too
            anew = "pass --overwrite to start anew"
            if job.update:
                anew = f"remove {folder.path} to give it up: {self.store} stays as it is"
            raise StoreError(
                f"{folder.path} holds an unfinished {'update' if job.update else 'conversion'} "
                f"with other settings: {differing}; repeat its command to finish it, or {anew}"
            )
        is_same = (job.repaired, job.forgotten) == (self.repaired, self.forgotten)
        if not is_same or (job.update and job.base != job_of(self.store)):
            # between a repair and an update, of other damage, or for a store that is not there
            # any longer: nothing of it would help
            return None
        if self.is_finished:
            raise StoreError(
                f"{self.store} already exists; pass --overwrite to finish the conversion in "
                f"{folder.path} and replace it"
            )
        return job

    def _starts_anew(self, job: Job) -> bool:
        """Whether to overwrite means to forget what was begun without that."""
        return self.options.overwrite and not (job.overwrite or exists(self.store))

    def base(self) -> Finished | None:
        """The store to be updated, if that is what is asked for."""
        if self.options.update and exists(self.store):
            return Finished.read(self.store)
        return None


def tidy_up(store: Path) -> None:
    """Remove the working folder if the conversion in it was killed after it had made the store.

    Raises
    ------
    StoreError
        If another process is at work in it, or it cannot be removed.
    """
    with reported_disk(store):
        if not exists(WorkFolder(store).path):
            return
        with WorkFolder(store) as folder:
            folder.adopt_repair()
            try:
                job = folder.read_job()
            except StoreError:
                # its own command says what to do
                return
            if job is not None and job.id == job_of(store):
                folder.remove()


@contextmanager
def reported_disk(store: Path) -> Iterator[None]:
    """Turn what a failing disk says at the mere question whether a file exists into one line."""
    try:
        yield
    except OSError as error:
        path = error.filename
        if not isinstance(path, str) or not Path(path).is_relative_to(store.parent):
            raise
        raise StoreError(f"cannot use {path}: {error.strerror}") from error
