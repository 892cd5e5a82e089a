"""Ending a conversion by signals, with what is in hand finished."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from specctl.cli.app import ExitCode
from specctl.cli.progress import ConvertProgress

if TYPE_CHECKING:
    from specctl.convert import Control


@contextmanager
def stoppable(bar: ConvertProgress) -> Iterator["Control"]:
    """Ctrl-C and SIGTERM end the run after the parts in hand; a second one ends it at once."""
    from specctl.convert import Control, Stopped

    control = Control()

    is_speaking = False

    def stop(number: int, frame: object) -> None:
        nonlocal is_speaking
        control.stop(number)
        if is_speaking:
            # a second signal within the print for the first, which then goes on to the end
            return
        name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        is_speaking = True
        if not control.killed:
            bar.say(f"{name}: finishing the parts in hand; once more stops at once")
        if control.killed:
            # the flag may not be seen for long: in a part made in this process, in the merge
            bar.say(f"{name}: stopping now")
            raise KeyboardInterrupt
        is_speaking = False

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield control
    except (Stopped, KeyboardInterrupt) as stopped:
        bar.say(f"specctl: {str(stopped) or 'stopped; the same command goes on from there'}")
        bar.say(f"specctl: to go on: {shlex.join(['specctl', *sys.argv[1:]])}")
        is_terminated = control.signal == signal.SIGTERM
        code = ExitCode.TERMINATED if is_terminated else ExitCode.INTERRUPTED
        raise typer.Exit(code) from stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
