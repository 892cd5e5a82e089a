"""Runs the command line again and again in forks of one process, which has imported it all.

A fork is a process of its own that may be killed; without the imports a conversion of a few
clips takes a tenth of a second. `Runner` is what tests use; the rest runs in the process.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from tests.convert.audio_files import corpus

LIMIT = 60
"""Seconds; nothing here may hang."""
ROOT = Path(__file__).parents[2]
SITE = Path(__file__).parent / "site"


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, negative for a signal, and what it said."""

    code: int
    output: str
    errors: str


class Runner:
    """A process that runs ``specctl`` in forks of itself; a context manager.

    Parameters
    ----------
    scratch : Path
        Folder for what the runs say.
    imports : sequence of str
        Modules to import before the first run, beside those of a conversion.
    """

    def __init__(self, scratch: Path, imports: Sequence[str] = ()) -> None:
        self._scratch, self._imports = scratch, imports

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.runner"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        corpus(self._scratch / "warm", 1, seconds=0.2)
        self._order({"warm_up": str(self._scratch / "warm"), "imports": self._imports})
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(LIMIT)
        self._process.stdout.close()

    def run(self, *arguments: object, **options: Any) -> Ended:
        """Run a command to its end; ``options`` are those of `run_together`."""
        return self.run_together([arguments], **options)[0]

    def run_together(
        self,
        commands: Sequence[Sequence[object]],
        *,
        shim: dict[str, Any] | None = None,
        kill_after: float = LIMIT,
        user: int | None = None,
        with_workers: bool = False,
    ) -> list[Ended]:
        """Run several commands at once, to their ends or until their time is over.

        Parameters
        ----------
        shim : dict, optional
            Settings of the `Shim` that goes into each.
        kill_after : float, seconds
        user : int, optional
            Whose processes they are, if not ours.
        with_workers : bool
            Whether the `Shim` goes into the processes that they start, too.
        """
        self._order(
            {
                "commands": [[str(argument) for argument in each] for each in commands],
                "shim": shim,
                "kill_after": kill_after,
                "user": user,
                "with_workers": with_workers,
                "said": str(self._scratch),
            }
        )
        codes = json.loads(self._process.stdout.readline())
        return [Ended(code, *self._said(number)) for number, code in enumerate(codes)]

    def _said(self, number: int) -> list[str]:
        paths = [self._scratch / f"{number}.{name}" for name in ("output", "errors")]
        return [path.read_text() for path in paths]

    def _order(self, order: dict[str, Any]) -> None:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()


def _serve() -> None:
    from typer.main import get_command

    from specctl.cli.commands import app
    from specctl.convert import merging, part_worker, plan, repair, run, work  # noqa: F401
    from specctl.store import verify  # noqa: F401

    plan._SMALLEST_PART = 1
    command = get_command(app)
    answers = os.fdopen(os.dup(1), "w")
    for number, line in enumerate(sys.stdin):
        order = json.loads(line)
        if number == 0:
            _warm_up(order["warm_up"], command)
            for name in order["imports"]:
                import_module(name)
            continue
        children = []
        for place in range(len(order["commands"])):
            children.append(os.fork())
            if children[-1] == 0:
                _be_child(order, place, command)
        end = time.monotonic() + order["kill_after"]
        answers.write(json.dumps([_waited(child, end) for child in children]) + "\n")
        answers.flush()


def _warm_up(folder: str, command: Any) -> None:
    """Convert once here: the transform is compiled then for all that follow."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    store = os.path.join(folder, "o.h5")
    with contextlib.suppress(SystemExit):
        command(["convert", folder, store, "--n-fft", "512", "--workers", "0"])
    os.dup2(kept, 2)
    os.unlink(store)


def _waited(child: int, end: float) -> int:
    """Exit code of a child, which is killed when its time is over."""
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _be_child(order: dict[str, Any], place: int, command: Any) -> None:
    code = 70
    try:
        for name, number in (("output", 1), ("errors", 2)):
            path = os.path.join(order["said"], f"{place}.{name}")
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(file, number)
            os.close(file)
        sys.argv = ["specctl", *order["commands"][place]]
        if order["user"] is not None:
            os.setgroups([])
            os.setgid(order["user"])
            os.setuid(order["user"])
        if order["with_workers"]:
            os.environ["SPECCTL_TEST_FAULT"] = json.dumps(order["shim"])
            os.environ["SPECCTL_TEST_ROOT"] = str(ROOT)
            # where the processes look for modules that the command starts
            sys.path.insert(0, str(SITE))
            import tests.faults.site.sitecustomize  # noqa: F401
        elif order["shim"] is not None:
            from tests.faults.shim import Shim

            Shim(**order["shim"]).install()
        command(order["commands"][place], prog_name="specctl")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
