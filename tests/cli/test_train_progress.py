"""What is said while a basis is trained."""

import io

from rich.console import Console

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
