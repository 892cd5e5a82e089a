"""The command line as a process of its own, what it leaves, and what processes are there."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from specctl.cli.commands import app
from specctl.convert.summary import Progress
from specctl.store.reader import open_store
from specctl.store.verify import verify_store

LIMIT = 120  # seconds; nothing here may hang
SPECCTL = Path(sys.executable).with_name("specctl")
_PROGRAM = """\
import json, os, sys
from specctl.convert import merging, plan
plan._SMALLEST_PART = {smallest}
finish = merging.Joining.finish
def tell_and_finish(joining, *args):
    seen = {{}}
    for path in joining._folder.path.glob("*.part"):
        status = path.stat()
        seen[path.name] = [status.st_ino, status.st_mtime_ns]
    joining._folder.store.with_suffix(".seen").write_text(json.dumps(seen))
    return finish(joining, *args)
{tell}merging.Joining.finish = tell_and_finish
from specctl.cli.commands import main
main()
"""


def argv(
    *arguments: object,
    command: str = "convert",
    small_parts: bool = False,
    tell_parts: bool = False,
) -> list[str]:
    """The command ``specctl convert ...``, or another one.

    ``small_parts`` makes a part of every file or two; ``tell_parts`` leaves inode and time of
    change of all part files in ``<store>.seen``, as they are right before the merge.
    """
    program = "from specctl.cli.commands import main; main()"
    if small_parts or tell_parts:
        smallest = 1 if small_parts else "plan._SMALLEST_PART"
        program = _PROGRAM.format(smallest=smallest, tell="" if tell_parts else "# ")
    return [sys.executable, "-c", program, command, *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """The environment without what changes output, plus ``changes``."""
    dropped = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "COLUMNS", "PYTEST_CURRENT_TEST")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, **changes}


def run(
    *arguments: object,
    command: str = "convert",
    small_parts: bool = False,
    tell_parts: bool = False,
    **options: object,
) -> subprocess.CompletedProcess[str]:
    """Run a conversion to its end."""
    return subprocess.run(
        argv(*arguments, command=command, small_parts=small_parts, tell_parts=tell_parts),
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        **{"env": environment(), **options},
    )


def invoke(*arguments: object, command: str = "convert") -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which is much less work."""
    given = [command, *map(str, arguments)]
    done = CliRunner().invoke(app, given, env={"COLUMNS": "1000"}, catch_exceptions=False)
    return subprocess.CompletedProcess(given, done.exit_code, done.stdout, done.stderr)


def run_script(*arguments: object, **options: object) -> "subprocess.CompletedProcess[Any]":
    """Run ``specctl`` as a user does: by its script, whose Python imports from other folders.

    ``options`` are those of ``subprocess.run``.
    """
    given = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "timeout": LIMIT,
        "env": environment(),
    }
    return subprocess.run([SPECCTL, *map(str, arguments)], check=False, **{**given, **options})


@contextlib.contextmanager
def started(
    *arguments: object, command: str = "convert", small_parts: bool = True, **options: object
) -> "Iterator[subprocess.Popen[str]]":
    """A conversion as the leader of a process group of its own, all of which ends in the end."""
    with subprocess.Popen(
        argv(*arguments, command=command, small_parts=small_parts),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **{"env": environment(), **options},
    ) as process:
        try:
            yield process
        finally:
            kill_group(process)


def wait_for(
    condition: Callable[[], object],
    what: str,
    process: "subprocess.Popen[str] | None" = None,
    seconds: float = 60,
    pause: float = 0.005,
) -> None:
    """Look again and again until something is true; pointless when ``process`` has ended."""
    end = time.monotonic() + seconds
    while not condition():
        has_ended = process is not None and process.poll() is not None
        if time.monotonic() > end or (has_ended and not condition()):
            errors = process.communicate()[1] if has_ended else ""
            raise AssertionError(f"waited for {what}: {errors}")
        time.sleep(pause)


def group_members(group: int) -> Iterator[tuple[int, list[str]]]:
    """Process id and arguments of the living processes of a group."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) != group or fields[0] in "ZX":
                continue
            command = os.fsdecode((folder / "cmdline").read_bytes()).split("\0")
        except OSError:
            continue
        yield int(folder.name), command


def worker_pids(process: "subprocess.Popen[str]") -> list[int]:
    """Workers of a conversion: the grandchildren, which the fork server has forked."""
    parents = {}
    for pid, _ in group_members(process.pid):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[pid] = int(fields[1])
    return [pid for pid, parent in parents.items() if parents.get(parent) == process.pid]


def kill_group(process: "subprocess.Popen[str]") -> None:
    """Kill a whole process group, or what is left of it, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(LIMIT)
    wait_for(lambda: not list(group_members(process.pid)), "the group to be gone")


def parts_of(store: Path) -> dict[str, list[int]]:
    """Name to inode and time of change of the finished parts beside a store."""
    found = {}
    for path in store.with_name(store.name + ".parts").glob("*.part"):
        status = path.stat()
        found[path.name] = [status.st_ino, status.st_mtime_ns]
    return found


def seen_parts(store: Path) -> dict[str, list[int]]:
    """What ``tell_parts`` has left; removes it."""
    path = store.with_suffix(".seen")
    seen: dict[str, list[int]] = json.loads(path.read_text())
    path.unlink()
    return seen


class PartsSeen:
    """What ``tell_parts`` leaves, for conversions in this process: shows progress to itself."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self.parts: dict[str, list[int]] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.stage == "writing the store":
            self.parts = parts_of(self._store)


def assert_same(store: Path, wanted: Path) -> None:
    """Two stores hold the same, array for array, and are sound."""
    assert verify_store(store) == []
    with open_store(store, decode=False) as left, open_store(wanted, decode=False) as right:
        assert list(left) == list(right)
        assert left.layout == right.layout
        assert left.config == right.config
        assert left.records == right.records
        assert left.failures == right.failures
        np.testing.assert_array_equal(left.mean, right.mean)
        np.testing.assert_array_equal(left.std, right.std)
        for key in left:
            assert left[key].tobytes() == right[key].tobytes(), key


def assert_nothing_beside(store: Path, *others: str) -> None:
    """Only the store is in its folder, and what is named."""
    assert {path.name for path in store.parent.iterdir()} == {store.name, *others}
