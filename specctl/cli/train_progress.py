"""How far a training is, on stderr."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import TimeRemainingColumn

from specctl.cli.display import Display
from specctl.cli.draw import printable
from specctl.words import counted

_MOST_NAMED = 3


class TrainProgress(Display):
    """Shows each event of a training that it is called with."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        super().__init__(console, TimeRemainingColumn(), quiet=quiet)
        self._accuracy: list[str] = []
        self._trained = ""

    def __call__(self, event: dict[str, Any]) -> None:
        """Show an event."""
        kind = event["event"]
        if kind == "start":
            names = ", ".join(map(printable, event["classes"][:8]))
            names += ", …" if len(event["classes"]) > 8 else ""
            self._trained = " and ".join(event["train"])
            self.say(
                f"training {event['n_trained']:,} numbers ({', '.join(event['train'])}) on "
                f"{event['n_files']:,} files of {len(event['classes'])} classes: {names}"
            )
        elif kind == "left out":
            self._say_files("left out", event["files"])
        elif kind == "copies":
            self._say_files("with the same bytes as another", event["files"])
        elif kind == "out of memory":
            self.say(
                f"out of memory: {counted(event['clips_at_once'], 'clip')} at once from here on"
            )
        elif kind == "decode":
            n_done, n_total = event["n_done"], event["n_total"]
            self.show("decoding", n_done, n_total, [f"{n_done:,} of {counted(n_total, 'file')}"])
        elif kind == "epoch":
            self._accuracy = [f"validation accuracy {event['validation_accuracy']:.3f}"]
        elif kind == "step":
            n_done, n_total = event["step"], event["n_steps"]
            if n_done == 1:
                self._accuracy = []
            figures = [f"loss {event['loss']:.3f}", *self._accuracy]
            figures.append(f"{n_done:,} of {counted(n_total, 'step')}")
            name = f"run {event['run'] + 1}, {self._trained} {event['arm']}"
            self.show(name, n_done, n_total, figures)

    def say(self, text: str) -> None:
        """Print a line above the bar, unless nothing is to be shown."""
        if not self.quiet:
            super().say(text)

    def _say_files(self, what: str, files: Sequence[tuple[str, str]]) -> None:
        named = [f"{printable(key)} ({reason})" for key, reason in files[:_MOST_NAMED]]
        if len(files) > _MOST_NAMED:
            named.append(f"{len(files) - _MOST_NAMED:,} more")
        self.say(f"{counted(len(files), 'file')} {what}: {', '.join(named)}")
