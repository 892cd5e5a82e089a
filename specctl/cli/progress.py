"""How far a conversion is, on stderr."""

import math
import time
from typing import TYPE_CHECKING

from rich.console import Console

from specctl.cli.display import Display
from specctl.words import counted, duration, ratio

if TYPE_CHECKING:
    from specctl.convert import Progress

_SECONDS_BEFORE_RATES = 0.5


class ConvertProgress(Display):
    """Shows each `specctl.convert.Progress` it is called with."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        super().__init__(console, quiet=quiet)
        self._started = time.monotonic()
        self._stage = ""
        self._audio_at_start = 0.0

    def __call__(self, progress: "Progress") -> None:
        """Show how far it is."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._started = progress.stage, now
            self._audio_at_start = progress.audio_seconds
        figures = self._figures(progress, now - self._started)
        self.show(progress.stage, progress.n_done, progress.n_total, figures)

    def _figures(self, progress: "Progress", elapsed: float) -> list[str]:
        """What people want to know first comes first."""
        if not progress.n_total:
            return []
        figures = [f"{progress.n_done:,} of {counted(progress.n_total, 'file')}"]
        if progress.n_failed:
            figures.append(f"{progress.n_failed:,} failed")
        done = progress.audio_seconds - self._audio_at_start
        if done and elapsed > _SECONDS_BEFORE_RATES:
            speed = done / elapsed
            left = progress.total_audio_seconds - progress.audio_seconds
            if left > 0:
                figures.append(f"{duration(math.ceil(left / speed))} left")
            figures.append(f"{ratio(speed)} × real time")
        if progress.audio_seconds:
            figures.append(f"{duration(progress.audio_seconds)} of audio")
        return figures
