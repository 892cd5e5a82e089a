"""Readers that do, with their third input, what no reader may: fuzzing must find them out."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from specctl.errors import ParameterError

from .targets import Target


def _die(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang(path: Path) -> None:
    while True:
        pass


def _raise(path: Path) -> None:
    raise KeyError(1)


def _write(path: Path) -> None:
    path.write_bytes(b"")


def _say_too_much(path: Path) -> None:
    raise ParameterError("a\nb")


def _target(harm: Callable[[Path], None]) -> Target:
    def read(path: Path, number: int) -> None:
        if number == 2:
            harm(path)

    return Target(lambda folder: [b"good"], read, ParameterError, seconds=1)


BAD_READERS = {
    "dies": _target(_die),
    "hangs": _target(_hang),
    "raises": _target(_raise),
    "writes": _target(_write),
    "says too much": _target(_say_too_much),
}
