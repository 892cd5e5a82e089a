"""``specctl verify``: prove that a store is what was written."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from specctl.cli.app import ExitCode, app, err, out, reported_errors
from specctl.cli.draw import printable


@app.command("verify")
def verify(
    store: Annotated[Path, typer.Argument(help="Store to check.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read every byte of a store and check it; the exit code is 1 if anything is wrong."""
    from specctl.store.reader import open_store
    from specctl.store.verify import verify_store

    n_items = n_frames = None
    with reported_errors():
        with _progress_bar() as progress:
            problems = verify_store(store, progress)
        if not problems:
            with open_store(store) as opened:
                n_items, n_frames = len(opened), opened.n_frames
    if as_json:
        report = {
            "path": str(store),
            "ok": not problems,
            "n_items": n_items,
            "n_frames": n_frames,
            "problems": [problem._asdict() for problem in problems],
        }
        _print_line(json.dumps(report))
    elif not problems:
        _print_line(f"{n_items:,} items, {n_frames:,} frames: all good")
    else:
        for problem in problems:
            _print_line(printable(f"{problem.key}: " * bool(problem.key) + problem.message))
        _print_line(f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}")
    if problems:
        raise typer.Exit(ExitCode.FAILED)


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, nothing elsewhere."""
    if not err.is_terminal:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("verify", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_line(text: str) -> None:
    """One line as it is: no markup, no emoji, no wrapping."""
    out.print(Text(text), soft_wrap=True, highlight=False)
