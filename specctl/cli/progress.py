"""How far a conversion is, on stderr: a bar on a terminal, a line now and then elsewhere."""

import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from specctl.cli.words import duration

if TYPE_CHECKING:
    from specctl.convert import Progress

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BEFORE_RATES = 0.5


class ConvertProgress:
    """Shows each `specctl.convert.Progress` it is called with.

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
        self._started = self._last_line = time.monotonic()
        self._stage = ""
        self._audio_at_start = 0.0
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        if console.is_terminal and not quiet:
            columns = ("{task.description}", BarColumn(), "{task.fields[figures]}")
            self._bar = Bar(
                *(TextColumn(each) if isinstance(each, str) else each for each in columns),
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

    def __call__(self, progress: "Progress") -> None:
        """Show how far it is."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._started = progress.stage, now
            self._audio_at_start = progress.audio_seconds
        figures = self._figures(progress, now - self._started)
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                description=progress.stage,
                total=progress.n_total,
                completed=progress.n_done,
                figures=figures,
            )
        elif not self._quiet and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._console.print(f"{progress.stage}: {figures}", highlight=False)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _figures(self, progress: "Progress", elapsed: float) -> str:
        parts = [f"{progress.n_done:,} of {progress.n_total:,} files"]
        if progress.n_failed:
            parts.append(f"{progress.n_failed:,} failed")
        if progress.audio_seconds:
            parts.append(f"{duration(progress.audio_seconds)} of audio")
        done = progress.audio_seconds - self._audio_at_start
        if done and elapsed > _SECONDS_BEFORE_RATES:
            speed = done / elapsed
            parts.append(f"{speed:,.0f} × real time")
            left = progress.total_audio_seconds - progress.audio_seconds
            if left > 0:
                parts.append(f"{duration(left / speed)} left")
        return ", ".join(parts)
