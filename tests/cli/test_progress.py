"""What is shown while a conversion goes on."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from specctl.cli import display, progress
from specctl.cli.progress import ConvertProgress
from specctl.convert import Progress

FIGURES = "1,184 of 1,686 files, 2 failed, 12 s left, 100 × real time, 1 h 7 min of audio"
CONVERTING = Progress("converting", 1184, 1686, 2, audio_seconds=4000, total_audio_seconds=5200)


def shown(monkeypatch, width, **terminal):
    """The last line, 40 s after the first part was done."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(display, "_SECONDS_BETWEEN_LINES", 0.0)
    console = Console(file=io.StringIO(), width=width, color_system=None, **terminal)
    with ConvertProgress(console, quiet=False) as bar:
        bar(Progress("converting", 0, 1686, total_audio_seconds=5200))
        clock.now = 40.0
        bar(CONVERTING)
        if bar._bar is not None:
            bar._bar.refresh()
    lines = console.file.getvalue().replace("\r", "\n").split("\n")
    return [line for line in lines if "converting" in line][-1]


@pytest.mark.parametrize(
    ("width", "figures"),
    [
        (40, "1,184 of 1,686 files"),
        (79, "1,184 of 1,686 files, 2 failed, 12 s left"),
        (99, "1,184 of 1,686 files, 2 failed, 12 s left, 100 × real time"),
        (100, FIGURES),
    ],
    ids=str,
)
def test_a_narrow_terminal_has_the_bar_and_what_matters_most(monkeypatch, width, figures):
    line = shown(monkeypatch, width, force_terminal=True)
    assert line.rstrip().endswith(f" {figures}")
    assert "converting ━━━━" in line


@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "dumb terminal"])
def test_there_are_lines_where_no_bar_can_be(monkeypatch, is_terminal):
    line = shown(monkeypatch, 80, force_terminal=is_terminal, _environ={"TERM": "dumb"})
    assert line == f"converting: {FIGURES}"
