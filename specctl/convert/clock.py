"""Where the time goes: seconds per stage of the work."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

STAGES = ("decode", "resample", "transform", "compress", "write")
"""Stages of a conversion, in the order in which a file goes through them."""

_Element = TypeVar("_Element")


class Clock:
    """Adds up the seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside towards a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started

    def timed(self, name: str, elements: Iterable[_Element]) -> Iterator[_Element]:
        """The same elements; the time it takes to make each counts towards a stage."""
        iterator = iter(elements)
        while True:
            with self.stage(name):
                try:
                    element = next(iterator)
                except StopIteration:
                    return
            yield element
