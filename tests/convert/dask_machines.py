"""A Dask scheduler and workers, as processes that really die."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

from tests.convert.commands import group_members, kill_group, wait_for

DASK = Path(sys.executable).with_name("dask")
_SETTINGS = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
_PAUSE = 0.1  # seconds; each look is a connection of its own


class Machines:
    """A scheduler, at the address in ``file``, and workers of one thread that come and go."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        self.file = folder / "scheduler.json"
        self._folder = folder
        self._environment = environment
        self._processes: list[subprocess.Popen[bytes]] = []
        flags = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", self.file)
        self._start("scheduler", *flags)
        wait_for(lambda: self.file.exists() and self.file.stat().st_size, "the scheduler")

    def add_worker(
        self, environment: dict[str, str] | None = None, *, has_nanny: bool = True
    ) -> None:
        """Start one, in another environment, perhaps; does not wait for it.

        Its nanny, a process of its own, would start another one in its place.
        """
        flags = ("--scheduler-file", self.file, "--nthreads", "1")
        flags = (*flags, "--local-directory", self._folder)
        flags = (*flags, "--nanny" if has_nanny else "--no-nanny")
        self._start("worker", *flags, environment=environment)

    def kill_scheduler(self) -> None:
        """End it at once."""
        self._processes[0].kill()

    def pid_of(self, kind: str) -> int:
        """Of the newest worker: the ``"worker"`` itself, which its nanny replaces, or the
        ``"process"`` that it has for tasks; ValueError if there is none at the moment."""
        program = {"worker": "spawn_main", "process": "forkserver"}[kind]
        members = group_members(self._processes[-1].pid)
        # of those with the program of a fork server, the last one was forked
        return max(pid for pid, argv in members if program in " ".join(argv))

    def replace_worker(self) -> None:
        """End the newest worker with all that belongs to it, and start another one."""
        kill_group(self._processes.pop())
        self.add_worker()

    def await_wanted(self, n_workers: int, process: "subprocess.Popen[str]") -> None:
        """Wait until a cluster that adapts to its work would have so many workers, or more."""

        def n_wanted() -> int:
            with self._client() as client:
                return client.run_on_scheduler(
                    lambda dask_scheduler: dask_scheduler.adaptive_target("1 ms")
                )

        wait_for(lambda: n_wanted() >= n_workers, "tasks for workers", process, pause=_PAUSE)

    def await_in_hand(self, n_tasks: int) -> None:
        """Wait until workers have begun so many tasks and not ended them."""

        def n_in_hand() -> int:
            with self._client() as client:
                return sum(map(len, client.call_stack().values()))

        wait_for(lambda: n_in_hand() == n_tasks, "tasks in hand", pause=_PAUSE)

    def await_threads(self, n_threads: int) -> None:
        """Wait until all workers together have so many threads."""

        def n_there() -> int:
            with self._client() as client:
                return sum(client.nthreads().values())

        wait_for(lambda: n_there() == n_threads, "threads of workers", pause=_PAUSE)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """All workers have something else to do in between."""
        sign = self._folder / "busy"

        def wait(_: int) -> None:
            while sign.exists():
                time.sleep(0.02)

        sign.touch()
        with self._client() as client:
            try:
                waiting = client.map(wait, range(sum(client.nthreads().values())))
                self.await_in_hand(len(waiting))
                yield
            finally:
                sign.unlink()
                client.gather(waiting)

    def log(self) -> str:
        """What all of them have said."""
        return "".join(path.read_text() for path in self._folder.glob("*.log"))

    def end(self) -> None:
        """End all of them at once."""
        for process in self._processes:
            kill_group(process)

    def _client(self) -> Client:
        return Client(json.loads(self.file.read_text())["address"], set_as_default=False)

    def _start(self, kind: str, *flags: object, environment: dict[str, str] | None = None) -> None:
        with (self._folder / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [DASK, kind, *map(str, flags), "--no-dashboard"],
                stdout=log,
                stderr=log,
                env={**(environment or self._environment), **_SETTINGS},
                cwd=self._folder,
                start_new_session=True,
            )
        self._processes.append(process)


@contextmanager
def machines(folder: Path, n_workers: int, environment: dict[str, str]) -> Iterator[Machines]:
    """A scheduler and so many workers, until the end."""
    made = Machines(folder, environment)
    try:
        for _ in range(n_workers):
            made.add_worker(has_nanny=False)
        wait_for(lambda: made.log().count("Registered to:") == n_workers, "the workers")
        yield made
    finally:
        made.end()
