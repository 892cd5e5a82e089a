"""The working folder beside a store: one writer, the job, the plan, finished parts.

``out.h5.parts/`` holds ``lock`` (flock), ``job.json`` (what is being made; written last, so a
folder without it is a job that never began), ``plan.jsonl`` (every source and its part),
``poison.json`` (sources that killed a worker twice), the finished ``NNNNNN.part`` files,
``merged.h5`` (the store until it gets its name) and, on some systems, ``beats``. A part is
complete or absent; everything else can be made again. Files of other names are not ours and stay.
A repair of the store that comes between has a folder like it in ``repair/``.
"""

import contextlib
import errno
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from specctl.convert.access import close_to_strangers
from specctl.convert.jobs import Job, part_path
from specctl.convert.plan import Plan
from specctl.convert.stored import job_of
from specctl.durable import fsync_folder, is_there, reported_os_errors, write_atomically
from specctl.errors import StoreError
from specctl.locks import LOCK, lock_folder, unlock_folder
from specctl.presence import is_folder
from specctl.store.part import Part, read_part

_REPAIR = "repair"
_OWN_NAME = re.compile(
    r"(job\.json|plan\.jsonl|poison\.json|merged\.h5|beats|\d{6,}\.part)(\.tmp-\d+)?"
)
"""What may lie in the folder besides the lock."""
_UNREADABLE = (OSError, ValueError, TypeError, LookupError, RecursionError)
"""What reading JSON raises that is damaged, or of another version."""


class WorkFolder:
    """Holds the lock on a store's working folder from `__enter__` to `__exit__`.

    Parameters
    ----------
    store : Path
        Final name of the store; the folder is the same with ``.parts`` added.
    inside : str
        Name of a folder in that one to work in instead.

    Raises
    ------
    StoreError
        If another process holds the lock, or the folder cannot be made.
    """

    def __init__(self, store: Path, inside: str = "") -> None:
        self.store = store
        self.path = store.with_name(store.name + ".parts") / inside
        self._lock: int | None = None
        # once removed, a folder of that name is another process's
        self._is_removed = False

    def __enter__(self) -> Self:
        try:
            self._lock = lock_folder(self.path, self._in_use)
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error
        # it holds frames of the store, and is where the next one is made
        close_to_strangers(self.path, self.store)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if not self._is_removed and not self._has_job():
                self.remove()
        except StoreError:
            # what went wrong first says more
            if kind is None:
                raise
        finally:
            if self._lock is not None:
                unlock_folder(self._lock, self.path)

    @property
    def merged(self) -> Path:
        """Where the store is made before it gets its name."""
        return self.path / "merged.h5"

    @property
    def beats(self) -> Path:
        """The file of signs of life, where the system has no better place for them."""
        return self.path / "beats"

    def read_job(self) -> Job | None:
        """The job that was begun here, ``None`` if there is none."""
        if not self._has_job():
            return None
        try:
            return Job.from_json((self.path / "job.json").read_text())
        except _UNREADABLE as error:
            raise _unreadable(self.path / "job.json", error) from error

    def read_plan(self, job: Job) -> Plan:
        """The plan of the job, with poisoned sources marked."""
        try:
            plan = Plan.from_json_lines((self.path / "plan.jsonl").read_text(encoding="utf-8"))
            # a repair or an update may have nothing to convert, but only to write anew
            if not plan.parts and not job.update:
                raise ValueError("it is empty")
        except _UNREADABLE as error:
            raise _unreadable(self.path / "plan.jsonl", error) from error
        return plan.poisoned(self.read_poison())

    def begin(self, job: Job, plan: Plan) -> None:
        """Start a job: whatever lies here from another one goes."""
        self.clear()
        write_atomically(self.path / "plan.jsonl", plan.to_json_lines().encode())
        write_atomically(self.path / "job.json", job.to_json().encode())
        # or a power cut might take the whole folder, with parts that were said to be safe
        fsync_folder(self.path.parent)

    def read_poison(self) -> dict[str, str]:
        """Source key to why it must not be opened again."""
        path = self.path / "poison.json"
        try:
            return dict(json.loads(path.read_text()))
        except FileNotFoundError:
            return {}
        except _UNREADABLE as error:
            raise _unreadable(path, error) from error

    def add_poison(self, key: str, reason: str) -> None:
        """Remember that a source killed its worker twice."""
        reasons = {**self.read_poison(), key: reason}
        write_atomically(self.path / "poison.json", json.dumps(reasons).encode())

    def finished_part(self, number: int) -> Part | None:
        """A part that an earlier run finished; one that is damaged is removed.

        Raises
        ------
        StoreError
            If a part that is sound, perhaps, cannot be read.
        """
        path = part_path(self.path, number)
        if not is_there(path):
            return None
        try:
            return read_part(path)
        except StoreError as error:
            if not _is_damage(error):
                raise
            _remove_file(path)
            return None

    def parts(self, job: Job, n_parts: int) -> Iterator[tuple[int, Part]]:
        """Number and content of each part of a job that is there and sound; takes no lock."""
        for number in range(n_parts):
            try:
                part = read_part(part_path(self.path, number))
            except StoreError as error:
                if not _is_damage(error):
                    raise
            else:
                if part.is_of(job.id):
                    yield number, part

    def remove_damaged(self, n_parts: int) -> bool:
        """Remove parts of which a byte has changed since they were written; whether any was."""
        found = False
        for number in range(n_parts):
            path = part_path(self.path, number)
            try:
                for _ in read_part(path).iter_chunks():
                    pass
            except StoreError as error:
                if _is_damage(error):
                    _remove_file(path)
                    found = True
        return found

    def sweep(self) -> None:
        """Remove what killed workers left half-written."""
        for stray in self._own_files():
            if ".tmp-" in stray.name:
                _remove_file(stray)
        _remove_file(self.merged)

    def adopt_repair(self) -> None:
        """Have an update go on with its store that was repaired since it was begun."""
        repair = WorkFolder(self.store, _REPAIR)
        try:
            done, job = repair.read_job(), self.read_job()
        except StoreError:
            # a repair at its end can be read; an update that cannot is not to be gone on with
            return
        if done is None or done.id != job_of(self.store):
            return
        # the repaired items are those that there were
        if job is not None and job.update and job.base == done.base:
            adopted = replace(job, base=done.id)
            write_atomically(self.path / "job.json", adopted.to_json().encode())

    def remove(self) -> None:
        """Remove the folder, unless files that are not ours lie in it.

        Raises
        ------
        StoreError
            If something cannot be removed.
        """
        self.clear()
        self._is_removed = True
        _remove_file(self.path / LOCK)
        try:
            self.path.rmdir()
        except OSError as error:
            # not empty: without our lock, another process may already have begun there
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise StoreError(f"cannot remove {self.path}: {error.strerror}") from error

    def clear(self) -> None:
        """Remove everything of ours but the lock."""
        inside = WorkFolder(self.store, _REPAIR)
        if inside.path != self.path and is_folder(inside.path) and not inside.path.is_symlink():
            inside.remove()
        # parts first: a kill in between leaves a job whose parts are made again, and never one
        # without its plan
        last = ("job.json", "plan.jsonl")
        for path in sorted(self._own_files(), key=lambda path: (path.name in last, path.name)):
            _remove_file(path)

    def _own_files(self) -> list[Path]:
        with reported_os_errors(self.path, "read"):
            return [path for path in self.path.iterdir() if _OWN_NAME.fullmatch(path.name)]

    def _has_job(self) -> bool:
        return is_there(self.path / "job.json")

    def _in_use(self, holder: str) -> str:
        return (
            f"{self.store} is being written by {holder or 'another process'}; "
            "wait for it or stop it"
        )


class _Inside(WorkFolder):
    """Where a repair works beside a conversion that is not finished, whose folder is locked.

    What the conversion has done stays. An update goes on with the repaired store.
    """

    def __init__(self, outer: WorkFolder) -> None:
        super().__init__(outer.store, _REPAIR)
        self._outer = outer

    def remove(self) -> None:
        """Remove the folder; the conversion beside it takes note of what was repaired."""
        self._outer.adopt_repair()
        super().remove()


@contextlib.contextmanager
def repair_folder(store: Path) -> Iterator[WorkFolder]:
    """The folder of a repair: the usual one, unless something else waits there to be finished.

    Raises
    ------
    StoreError
        As `WorkFolder`.
    """
    with WorkFolder(store) as folder:
        try:
            job = folder.read_job()
            is_free = job is None or job.repaired is not None
        except StoreError:
            is_free = False
        if is_free:
            yield folder
        else:
            with _Inside(folder) as inside:
                yield inside


def _unreadable(path: Path, error: Exception) -> StoreError:
    reason = f"{error} is missing" if isinstance(error, KeyError) else error
    return StoreError(f"cannot read {path}: {reason}; pass --overwrite to start anew")


def _is_damage(error: StoreError) -> bool:
    """Whether a part is gone for good, and not only out of reach for now."""
    cause = error.__cause__
    return not isinstance(cause, OSError) or cause.errno in (errno.EIO, errno.ENOENT)


def _remove_file(path: Path) -> None:
    with reported_os_errors(path, "remove"):
        path.unlink(missing_ok=True)
