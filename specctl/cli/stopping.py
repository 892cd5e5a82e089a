"""Ending a command by signals, with what is in hand finished, and saying how to go on."""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from traceback import clear_frames
from typing import TYPE_CHECKING

import typer

from specctl.cli.app import ExitCode
from specctl.cli.progress import ConvertProgress
from specctl.errors import Stopped
from specctl.launch import read_launch

if TYPE_CHECKING:
    from specctl.convert import Control

_WAKING_SECONDS = 0.2


@contextmanager
def stoppable(bar: ConvertProgress) -> Iterator["Control"]:
    """Ctrl-C and SIGTERM end the run after the parts in hand; a second one ends it at once."""
    from specctl.convert import Control

    control = Control()
    is_speaking = False

    def receive(number: int) -> None:
        nonlocal is_speaking
        control.stop()
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

    unsaid = "stopped; the same command goes on from there"
    with _received(receive, bar.say, unsaid, "to go on", sys.argv[1:]):
        yield control


@contextmanager
def stoppable_training(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM save the state after the step in hand; a second one ends at once."""
    n_processes = read_launch().n_ranks
    received: list[int] = []

    def receive(number: int) -> None:
        received.append(number)
        # torchrun sends a signal of its own after that of the terminal, and kills in the end
        if len(received) > 1 and n_processes == 1:
            raise KeyboardInterrupt

    unsaid = "stopped at once; the last checkpoint is kept"
    how = "to go on" if n_processes == 1 else f"to go on in {n_processes} processes of torchrun"
    # right after the command: behind a "--" it would be a path
    resume = [] if "--resume" in sys.argv else ["--resume"]
    arguments = [*sys.argv[1:2], *resume, *sys.argv[2:]]
    with _received(receive, say, unsaid, how, arguments):
        yield lambda: bool(received)


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it is to end a run as Ctrl-C does."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `Terminated`: what a run has put on the disk for itself is removed."""

    def end(number: int, frame: object) -> None:
        # a second one would stop the tidying up
        signal.signal(number, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _received(
    receive: Callable[[int], None],
    say: Callable[[str], None],
    unsaid: str,
    how: str,
    arguments: Sequence[str],
) -> Iterator[None]:
    """Give signals to ``receive``, and tell the end that comes of them.

    From the first signal on the process is woken again and again: Python only notes a signal that
    comes right before a call of the system, and that call would go on, however long it takes.

    Parameters
    ----------
    receive : callable
        Takes the number of each signal; may raise ``KeyboardInterrupt``.
    say : callable
        Takes a line for the user.
    unsaid : str
        What has happened, where the exception does not say.
    how, arguments : str, sequence of str
        What the command to go on is for, and what follows ``specctl`` in it.
    """
    first = 0
    is_over = False

    def handle(number: int, frame: object) -> None:
        nonlocal first
        first = first or number
        signal.setitimer(signal.ITIMER_REAL, _WAKING_SECONDS, _WAKING_SECONDS)
        # what is said at the end would be cut off by an impatient user
        if not is_over:
            receive(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    before_waking = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        yield
    except (Stopped, KeyboardInterrupt) as stopped:
        is_over = True
        # a buffer that was just being sent would be complained of at the end (Python 3.13)
        clear_frames(stopped.__traceback__)
        say(f"specctl: {str(stopped) or unsaid}")
        say(f"specctl: {how}: {shlex.join(['specctl', *arguments])}")
        code = ExitCode.TERMINATED if first == signal.SIGTERM else ExitCode.INTERRUPTED
        raise typer.Exit(code) from stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before_waking)
