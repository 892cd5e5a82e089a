"""What is said while a basis is trained."""

import io

import pytest
from rich.console import Console

from specctl.cli import display
from specctl.cli.train_progress import TrainProgress


def said(*events, quiet=False):
    console = Console(file=io.StringIO(), width=40)
    with TrainProgress(console, quiet=quiet) as progress:
        for event in events:
            progress(event)
    return console.file.getvalue()


def test_some_of_what_is_left_out_is_named():
    files = [(f"{name}.wav", "in no folder of a class") for name in ("a", "b\n", "c", "d", "e")]
    event = {"event": "left out", "files": files}
    assert said(event) == (
        "5 files left out: a.wav (in no folder of a class), b\\n.wav (in no folder of a class), "
        "c.wav (in no folder of a class), 2 more\n"
    )
    assert said({**event, "files": files[:1]}) == (
        "1 file left out: a.wav (in no folder of a class)\n"
    )
    assert said(event, quiet=True) == ""


@pytest.mark.parametrize(
    ("train", "name"), [(("basis",), "basis"), (("mel", "window"), "mel and window")], ids=str
)
def test_what_is_fixed_or_trained_is_named(train, name, monkeypatch):
    monkeypatch.setattr(display, "_SECONDS_BETWEEN_LINES", 0.0)
    start = {"event": "start", "train": train, "n_trained": 9, "n_files": 4, "classes": ("a", "b")}
    step = {"event": "step", "run": 0, "arm": "trained", "step": 1, "n_steps": 2, "loss": 0.5}
    before = {"event": "epoch", "validation_accuracy": 0.9}
    said_last = said(start, before, step).splitlines()[1]
    assert said_last == f"run 1, {name} trained: loss 0.500, 1 of 2 steps"


def test_decoding_is_counted_in_files(monkeypatch):
    monkeypatch.setattr(display, "_SECONDS_BETWEEN_LINES", 0.0)
    event = {"event": "decode", "n_done": 1, "n_total": 2000}
    assert said(event) == "decoding: 1 of 2,000 files\n"


def test_copies_are_named():
    event = {"event": "copies", "files": [("b/2.wav", "as a/1.wav, of another label")]}
    assert said(event) == (
        "1 file with the same bytes as another: b/2.wav (as a/1.wav, of another label)\n"
    )
