"""How far a job is, on stderr: a bar on a terminal, a line now and then elsewhere."""

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn

_SECONDS_BETWEEN_LINES = 10.0


class Display:
    """A context manager; a bar is there in between.

    Parameters
    ----------
    console : Console
        Of stderr.
    quiet : bool
        Show nothing.
    *columns : ProgressColumn
        Behind the bar and the figures.
    """

    def __init__(self, console: Console, *columns: ProgressColumn, quiet: bool) -> None:
        self.quiet = quiet
        self._console = console
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal and not quiet:
            name, figures = TextColumn("{task.description}"), TextColumn("{task.fields[figures]}")
            self._bar = Progress(
                name, BarColumn(), figures, *columns, console=console, transient=True
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("looking for files", total=None, figures="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, name: str, n_done: int, n_total: int, figures: str, line: str) -> None:
        """Show how far the stage of that name is: in the bar, or as ``line``."""
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            # without a total the bar stays as it is
            done, total = (n_done, n_total) if n_total else (None, None)
            self._bar.update(
                self._task, description=name, total=total, completed=done, figures=figures
            )
        elif not self.quiet and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.say(f"{name}: {line}" if line else name)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
