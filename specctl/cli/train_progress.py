"""How far a training is, on stderr: a bar on a terminal, a line now and then elsewhere."""

import time
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_SECONDS_BETWEEN_LINES = 10.0


class TrainProgress:
    """Shows each event of a training that it is called with.

    Parameters
    ----------
    console : Console
        Of stderr.
    quiet : bool
        Show nothing.
    """

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._last_line = time.monotonic()
        self._accuracy = ""
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        if console.is_terminal and not quiet:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("looking for files", total=None, figures="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Show an event."""
        kind = event["event"]
        if kind == "start":
            names = ", ".join(event["classes"][:8]) + (", …" if len(event["classes"]) > 8 else "")
            self.say(
                f"training {event['n_trained']:,} numbers ({', '.join(event['train'])}) on "
                f"{event['n_files']:,} files of {len(event['classes'])} classes: {names}"
            )
        elif kind == "out of memory":
            self.say(f"out of memory: {event['clips_at_once']} clips at once from here on")
        elif kind == "decode":
            self._show("decoding", event["n_done"], event["n_total"], "files")
        elif kind == "epoch":
            self._accuracy = f", validation accuracy {event['validation_accuracy']:.3f}"
        elif kind == "step":
            figures = f"loss {event['loss']:.3f}{self._accuracy}"
            name = f"run {event['run'] + 1}, basis {event['arm']}"
            self._show(name, event["step"], event["n_steps"], figures)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _show(self, name: str, n_done: int, n_total: int, figures: str) -> None:
        if n_done == 1:
            self._accuracy = ""
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, description=name, completed=n_done, total=n_total, figures=figures
            )
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.say(f"{name}: {n_done:,} of {n_total:,}, {figures}")
