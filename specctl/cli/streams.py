"""stdout and stderr that cannot be written to as they are, for which nothing has to stop."""

import contextlib
import io
import os
import sys
from typing import Any, TextIO

from specctl.errors import SpecctlError


class UnreadError(Exception):
    """Whoever was to read the answer has closed it: ``| head`` has seen enough."""


def fill_standard_descriptors() -> None:
    """Have descriptors 0, 1 and 2 lead nowhere where they were closed.

    Or the next file that is opened gets such a number, and with it whatever libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # the lowest number that is free
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def hush_matplotlib() -> None:
    """Leave unsaid what it says of its cache and its fonts when it is imported."""
    import logging

    logging.getLogger("matplotlib").setLevel(logging.ERROR)


class _Stream:
    """What ``sys`` has under a name at the time; not there at all where it was closed."""

    _name = ""

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._real(), attribute)

    def write(self, text: str) -> int:
        """As that of a text file; what its encoding lacks is escaped, as on stderr."""
        real = self._real()
        try:
            return real.write(text)
        except UnicodeEncodeError:
            return self.write(text.encode(real.encoding, "backslashreplace").decode(real.encoding))
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """As that of a text file."""
        try:
            self._real().flush()
        except OSError as error:
            self._give_up(error)

    def _real(self) -> TextIO:
        stream = getattr(sys, self._name)
        # what rich puts there while it shows a bar writes to the console, which writes here
        return getattr(stream, "rich_proxied_file", stream) or io.StringIO()

    def _give_up(self, error: OSError) -> None:
        # what is still to be written would fail once more when the interpreter ends
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._real().fileno())
            os.close(nowhere)


class Output(_Stream):
    """stdout: an answer that cannot be written is an error.

    Raises
    ------
    SpecctlError
        If the disk cannot take it.
    UnreadError
        If nobody reads it any longer.
    """

    _name = "stdout"

    def _give_up(self, error: OSError) -> None:
        super()._give_up(error)
        if isinstance(error, BrokenPipeError):
            raise UnreadError from error
        raise SpecctlError(f"cannot write to stdout: {error.strerror}") from error


class Messages(_Stream):
    """stderr: what cannot be said is left unsaid, and the work goes on."""

    _name = "stderr"
