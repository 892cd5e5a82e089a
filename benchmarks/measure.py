"""Run one command and say how long it took and how much memory its processes held.

Only the standard library: Linux counts the memory of a process that starts another into the
peak of the one it starts, so the process that measures must be a small one.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter
from typing import IO, NamedTuple

PROC = Path("/proc")
# looking takes about 4 ms for each GB held; looking more often would slow down what is timed
SAMPLE_EVERY_S = 0.25
SETTLED_BYTES = 2**30


class Measured(NamedTuple):
    """What one run of a command cost."""

    exit_code: int
    wall_s: float
    peak_process_mb: float
    peak_tree_mb: float | None
    stdout: str
    stderr: str


def settle() -> None:
    """Have nobody pay for what came before, nor for memory that the machine does not have yet.

    What others left to be written is written now. And the memory that a run will take is touched
    once: a virtual machine is given memory page by page when it is touched for the first time
    (again a few seconds after it is free), and files written meanwhile take ten times as long.
    """
    os.sync()
    # in a process of its own, which gives the memory back
    subprocess.run([sys.executable, "-c", f"b'x' * {SETTLED_BYTES}"], check=True)


def run(command: list[str], env: dict[str, str] | None = None) -> Measured:
    """Run ``command`` in a session of its own and wait for it.

    ``peak_process_mb`` is the largest single process, as the kernel counted it;
    ``peak_tree_mb`` the largest sum of all of them at once, pages they share counted once,
    sampled four times a second (None where there is no /proc).
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        started = perf_counter()
        process = subprocess.Popen(
            command, stdout=stdout, stderr=stderr, env=env, start_new_session=True
        )
        watch = _MemoryWatch(process.pid)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = perf_counter() - started
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            watch.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        return Measured(
            exit_code=process.returncode,
            wall_s=wall_s,
            peak_process_mb=_max_rss_to_mb(usage.ru_maxrss),
            peak_tree_mb=watch.peak_mb,
            stdout=_text(stdout),
            stderr=_text(stderr),
        )


def _max_rss_to_mb(max_rss: int) -> float:
    """Kilobytes on Linux, bytes on a Mac."""
    return max_rss / (2**20 if sys.platform == "darwin" else 2**10)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


class _MemoryWatch(threading.Thread):
    """Keeps the peak of the memory of all processes of one session."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session = session
        self.peak_mb: float | None = None
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(SAMPLE_EVERY_S):
            held = [_pss_mb(pid) for pid in _members(self.session)]
            if held:
                self.peak_mb = max(self.peak_mb or 0.0, sum(held))

    def stop(self) -> None:
        self._done.set()
        self.join()


def _members(session: int) -> list[Path]:
    """Folders in /proc of the processes of a session."""
    members = []
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            # after the name, which may hold anything: state, parent, group, session
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[3]) == session:
            members.append(stat.parent)
    return members


def _pss_mb(folder: Path) -> float:
    """Proportional set size: memory that n processes share counts 1/n for each."""
    try:
        lines = (folder / "smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
