"""How far a job is, on stderr: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn

_SECONDS_BETWEEN_LINES = 10.0
_LEAST_BAR = 10
_COLUMN_WIDTH = 9
"""Characters that a column behind the figures takes, such as the time that is left."""


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
        self._taken = _LEAST_BAR + 2 + _COLUMN_WIDTH * len(columns)
        # a dumb terminal shows a bar when it is over
        if console.is_interactive and not quiet:
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

    def show(self, name: str, n_done: int, n_total: int, figures: Sequence[str]) -> None:
        """Show how far the stage of that name is.

        Of the figures, the most important ones first, a bar has those that there is room for.
        """
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            shown = self._fitting(figures, self._console.width - len(name) - self._taken)
            # without a total the bar stays as it is
            done, total = (n_done, n_total) if n_total else (None, None)
            self._bar.update(
                self._task, description=name, total=total, completed=done, figures=shown
            )
        elif not self.quiet and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.say(f"{name}: {', '.join(figures)}" if figures else name)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @staticmethod
    def _fitting(figures: Sequence[str], room: int) -> str:
        """The first of the figures, and those after it that fit, too."""
        n_shown = len(figures)
        while n_shown > 1 and len(", ".join(figures[:n_shown])) > room:
            n_shown -= 1
        return ", ".join(figures[:n_shown])
