"""Signals to a command, one more of them at every moment."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import pytest
import typer

from specctl.cli.stopping import stoppable, stoppable_training
from specctl.errors import Stopped

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Impatient:
    """Takes what is said, and sends a signal each time."""

    def __init__(self, number):
        self.number = number
        self.lines = []

    def say(self, text):
        self.lines.append(text)
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("is_training", [False, True], ids=["convert", "train-basis"])
def test_a_signal_while_the_end_is_told_does_not_cut_it_off(number, is_training):
    bar = Impatient(number)
    stopping = stoppable_training(bar.say) if is_training else stoppable(bar)
    with pytest.raises(typer.Exit) as ended, stopping:
        raise Stopped("stopped: 1 of 2 parts are done")
    assert bar.lines[0] == "specctl: stopped: 1 of 2 parts are done"
    assert bar.lines[1].startswith("specctl: to go on: specctl")
    assert len(bar.lines) == 2
    assert ended.value.exit_code == CODES[number]


def test_nothing_that_was_in_hand_outlasts_the_end():
    """Of a buffer with a view of it, Python 3.13 says something while it ends."""
    seen = []

    def interrupted():
        in_hand = threading.Event()
        seen.append(weakref.ref(in_hand))
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(typer.Exit) as ended, stoppable(SimpleNamespace(say=lambda _: None)):
        interrupted()
    assert isinstance(ended.value.__cause__, KeyboardInterrupt)
    assert [each() for each in seen] == [None]


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_the_first_one_is_told_stops_now(number):
    bar = Impatient(number)
    with pytest.raises(typer.Exit) as ended, stoppable(bar):
        os.kill(os.getpid(), number)
        raise AssertionError("goes on")
    words = (
        "once more stops at once",
        ": stopping now",
        "specctl: stopped; ",
        "specctl: to go on",
    )
    assert len(bar.lines) == len(words)
    assert all(word in line for word, line in zip(words, bar.lines, strict=True)), bar.lines
    assert ended.value.exit_code == CODES[number]


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("is_training", [False, True], ids=["convert", "train-basis"])
def test_a_second_signal_that_interrupts_nothing_stops_all_the_same(number, is_training):
    # one that comes right before a call of the system is noted by Python, and the call goes on;
    # so it is of one that comes to another thread, which can be had at will
    def send() -> None:
        signal.pthread_kill(threading.get_ident(), number)

    lines = []
    bar = SimpleNamespace(say=lines.append)
    stopping = stoppable_training(lines.append) if is_training else stoppable(bar)
    with pytest.raises(typer.Exit) as ended, stopping:
        os.kill(os.getpid(), number)
        threading.Timer(0.1, send).start()
        begin = time.monotonic()
        time.sleep(20)
    assert time.monotonic() - begin < 10
    assert ended.value.exit_code == CODES[number]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_signals_mean_what_they_meant_before():
    numbers = [*CODES, signal.SIGALRM]
    before = [signal.getsignal(number) for number in numbers]
    with stoppable_training(lambda _: None) as is_stopped:
        assert not is_stopped()
        os.kill(os.getpid(), signal.SIGTERM)
        assert is_stopped()
    assert [signal.getsignal(number) for number in numbers] == before


AT_THE_END = """
import atexit, os, signal, sys
from specctl.cli.commands import main
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
sys.argv = ["specctl", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(("argument", "code"), [("presets", 0), ("no such command", 2)])
def test_a_signal_after_the_end_is_of_no_account(argument, code):
    command = [sys.executable, "-c", AT_THE_END, argument]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


WHILE_IMPORTING = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "specctl.cli.doctor":
            os.kill(os.getpid(), signal.SIGINT)

# a shell that starts tests in the background has it ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
from specctl.__main__ import main
sys.argv = ["specctl", "presets"]
main()
"""


def test_a_signal_before_the_beginning_is_no_traceback():
    command = [sys.executable, "-c", WHILE_IMPORTING]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_it_is_a_module_too():
    command = [sys.executable, "-m", "specctl", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("specctl ")
    assert (done.returncode, done.stderr) == (0, "")
