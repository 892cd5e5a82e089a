"""``specctl verify``: prove that a store is what was written, and make again what is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specctl.cli import options as o
from specctl.cli.app import ExitCode, command, err, print_line, reported_errors
from specctl.cli.draw import printable
from specctl.cli.progress import ConvertProgress
from specctl.cli.stopping import stoppable
from specctl.errors import ParameterError, StoreError
from specctl.words import counted, shell_command

if TYPE_CHECKING:
    from specctl.convert.repair import Repair
    from specctl.store.verify import Problem

_HELP = """Read every byte of a store and check it; the exit code is 1 if anything is wrong.

With --repair, the items that are damaged are converted again from their sources, which must not \
have changed; all else is taken over, and the store replaced when the new one is complete. With \
--forget, damaged items that are not made again are taken out, and their sources listed as failed.
"""


@command("verify", help=_HELP)
def verify(
    store: Annotated[
        Path, typer.Argument(metavar="STORE", help="Store to check.", parser=o.given_path)
    ],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SOURCE",
            help="With --repair: the audio, as it was given to convert.",
            parser=o.given_path,
        ),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Convert again the items that are damaged.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Take out damaged items that cannot be converted again."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    workers: o.Workers = None,
) -> None:
    """Prove that a store is what was written, and make again what is not."""
    with reported_errors():
        if repair != bool(sources):
            raise ParameterError("--repair and SOURCE must be given together")
        if workers is not None and not repair:
            raise ParameterError("workers has no effect without --repair")
        repaired = None
        if repair or forget:
            repaired = _repaired(store, sources or [], workers, forget=forget)
        problems = list(repaired.problems) if repaired is not None else _problems(store)
        n_items, n_frames = (None, None) if problems else _counts(store)
    if as_json:
        report: dict[str, Any] = {
            "path": str(store),
            "ok": not problems,
            "n_items": n_items,
            "n_frames": n_frames,
            "problems": [problem._asdict() for problem in problems],
        }
        if repaired is not None:
            report["found"] = [problem._asdict() for problem in repaired.found]
            report["repaired"] = list(repaired.repaired)
            report["differing"] = list(repaired.differing)
            report["forgotten"] = list(repaired.forgotten)
        print_line(json.dumps(report))
    else:
        _print_repair(repaired)
        left = any(problem.key for problem in problems)
        forgetting = "; --forget takes out what cannot be made again" * left
        _print_problems(problems, forgetting if repair else _advice(store))
        if n_items is not None and n_frames is not None:
            print_line(f"{counted(n_items, 'item')}, {counted(n_frames, 'frame')}: all good")
    if problems:
        raise typer.Exit(ExitCode.FAILED)


def _problems(store: Path) -> list[Problem]:
    from specctl.store.verify import verify_store

    with _progress_bar() as progress:
        return verify_store(store, progress)


def _repaired(store: Path, sources: list[Path], workers: int | None, *, forget: bool) -> Repair:
    from specctl.convert import Options
    from specctl.convert.repair import repair_store

    with ConvertProgress(err, quiet=False) as bar, stoppable(bar) as control:
        options = Options(workers=workers)
        return repair_store(
            store, sources, forget=forget, options=options, progress=bar, control=control
        )


def _counts(store: Path) -> tuple[int, int]:
    from specctl.store.reader import open_store

    with open_store(store) as opened:
        return len(opened), opened.n_frames


def _advice(store: Path) -> str:
    """What mends a store, where index and settings are good and say what is to be made."""
    from specctl.store.reader import open_store

    with suppress(StoreError), open_store(store) as opened:
        _ = opened.config
        return f"; {shell_command('verify --repair', store)} SOURCE... makes it good"
    return ""


def _print_problems(problems: list[Problem], advice: str = "") -> None:
    for problem in problems:
        print_line(printable(f"{problem.key}: " * bool(problem.key) + problem.message))
    if problems:
        print_line(printable(counted(len(problems), "problem") + advice))


def _print_repair(repair: Repair | None) -> None:
    if repair is None or not repair.found:
        return
    _print_problems(list(repair.found))
    gone = f", {counted(len(repair.forgotten), 'item')} forgotten" if repair.forgotten else ""
    print_line(f"repaired: {counted(len(repair.repaired), 'item')} made again{gone}")
    for key in repair.differing:
        print_line(printable(f"{key}: made with other last bits than those that were stored"))


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, nothing elsewhere."""
    if not err.is_interactive:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("verify", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
