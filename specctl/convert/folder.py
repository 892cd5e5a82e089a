"""The working folder beside a store: one writer, the job, the plan, finished parts.

``out.h5.parts/`` holds ``lock`` (flock), ``job.json`` (what is being made; written last, so a
folder without it is a job that never began), ``plan.jsonl`` (every source and its part),
``poison.json`` (sources that killed a worker twice), ``beats`` (signs of life) and the finished
``NNNNNN.part`` files. A part is complete or absent; everything else can be made again.
"""

import fcntl
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Self

from specctl.convert.jobs import Job, part_path
from specctl.convert.plan import Plan
from specctl.errors import StoreError
from specctl.store.durable import write_atomically
from specctl.store.part import Part, read_part


class WorkFolder:
    """Holds the lock on a store's working folder from `__enter__` to `__exit__`.

    Parameters
    ----------
    store : Path
        Final name of the store; the folder is the same with ``.parts`` added.

    Raises
    ------
    StoreError
        If another process holds the lock, or the folder cannot be made.
    """

    def __init__(self, store: Path) -> None:
        self.store = store
        self.path = store.with_name(store.name + ".parts")
        self._lock: int | None = None
        # once removed, a folder of that name is another process's
        self._is_removed = False

    def __enter__(self) -> Self:
        try:
            self._lock = self._locked()
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_removed and not self._has_job():
            self.remove()
        if self._lock is not None:
            os.close(self._lock)

    @property
    def merged(self) -> Path:
        """Where the store is made before it gets its name."""
        return self.path / "merged.h5"

    @property
    def beats(self) -> Path:
        """The file of signs of life."""
        return self.path / "beats"

    def read_job(self) -> Job | None:
        """The job that was begun here, ``None`` if there is none."""
        if not self._has_job():
            return None
        try:
            return Job.from_json((self.path / "job.json").read_text())
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(
                f"cannot read {self.path / 'job.json'}: {error}; pass --overwrite to start anew"
            ) from error

    def read_plan(self) -> Plan:
        """The plan of the job, with poisoned sources marked."""
        try:
            plan = Plan.from_json_lines((self.path / "plan.jsonl").read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(
                f"cannot read {self.path / 'plan.jsonl'}: {error}; pass --overwrite to start anew"
            ) from error
        return plan.poisoned(self.read_poison())

    def begin(self, job: Job, plan: Plan) -> None:
        """Start a job: whatever lies here from another one goes."""
        self.clear()
        write_atomically(self.path / "plan.jsonl", plan.to_json_lines().encode())
        write_atomically(self.path / "job.json", job.to_json().encode())

    def read_poison(self) -> dict[str, str]:
        """Source key to why it must not be opened again."""
        try:
            reasons: dict[str, str] = json.loads((self.path / "poison.json").read_text())
        except FileNotFoundError:
            return {}
        return reasons

    def add_poison(self, key: str, reason: str) -> None:
        """Remember that a source killed its worker twice."""
        reasons = {**self.read_poison(), key: reason}
        write_atomically(self.path / "poison.json", json.dumps(reasons).encode())

    def finished_part(self, number: int) -> Part | None:
        """A part that an earlier run finished; one that is damaged is removed."""
        path = part_path(self.path, number)
        if not path.exists():
            return None
        try:
            return read_part(path)
        except StoreError:
            path.unlink()
            return None

    def remove_damaged(self, n_parts: int) -> bool:
        """Remove parts of which a byte has changed since they were written; whether any was."""
        found = False
        for number in range(n_parts):
            path = part_path(self.path, number)
            try:
                for _ in read_part(path).iter_chunks():
                    pass
            except StoreError:
                path.unlink(missing_ok=True)
                found = True
        return found

    def sweep(self) -> None:
        """Remove what killed workers left half-written."""
        for stray in self.path.glob("*.tmp-*"):
            stray.unlink(missing_ok=True)
        self.merged.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        self.clear()
        self._is_removed = True
        shutil.rmtree(self.path, ignore_errors=True)

    def clear(self) -> None:
        """Remove everything but the lock, ``job.json`` last."""
        # parts first: a kill in between leaves a job whose parts are made again
        names = sorted(self.path.iterdir(), key=lambda path: path.name in ("job.json", "lock"))
        for path in names:
            if path.name != "lock":
                path.unlink(missing_ok=True)

    def _has_job(self) -> bool:
        return (self.path / "job.json").exists()

    def _locked(self) -> int:
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            name = self.path / "lock"
            lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.read(lock, 200).decode(errors="replace").strip()
                os.close(lock)
                raise StoreError(
                    f"{self.store} is being written by {holder or 'another process'}; "
                    "wait for it or stop it"
                ) from error
            try:
                is_same = os.path.samestat(os.fstat(lock), name.stat())
            except FileNotFoundError:
                is_same = False
            if is_same:
                os.truncate(lock, 0)
                os.write(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return lock
            # the holder before us removed the folder between our open and our lock
            os.close(lock)
