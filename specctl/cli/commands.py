"""The console script: importing the commands registers them with the app."""

import signal
import sys
from typing import Any

from specctl.cli import bench, convert, doctor, export_basis, info, presets, train_basis, verify
from specctl.cli.app import ExitCode, app, out, print_error
from specctl.cli.streams import UnreadError, fill_standard_descriptors
from specctl.errors import SpecctlError

__all__ = [
    "bench",
    "convert",
    "doctor",
    "export_basis",
    "info",
    "main",
    "presets",
    "train_basis",
    "verify",
]


def main() -> None:
    """Entry point of ``specctl``."""
    fill_standard_descriptors()
    try:
        sys.exit(_run())
    except SpecctlError as error:
        # of an answer that cannot be written, which some commands give at their very end
        print_error(error)
        sys.exit(ExitCode.FAILED)
    except UnreadError:
        sys.exit(ExitCode.UNREAD)
    finally:
        # libraries still tidy up: there is nothing left to stop
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run() -> Any:
    try:
        # also if it is called by ``python -m``, after which no shell could complete anything
        return app(prog_name="specctl")
    except SystemExit as done:
        # help and wrong usage are written by typer itself; it and rich make 1 of a closed pipe
        if not isinstance(done.__context__, BrokenPipeError):
            raise
        if (usage := _code_of_usage(done.__context__)) is None:
            raise UnreadError from done
        return usage
    except OSError as error:
        if "--install-completion" in sys.argv:
            raise SpecctlError(f"cannot write {error.filename}: {error.strerror}") from error
        if (usage := _code_of_usage(error)) is not None:
            return usage
        # if help has found no room, neither does this
        out.file.write("\n")
        out.file.flush()
        raise


def _code_of_usage(error: BaseException) -> Any:
    """Exit code of wrong usage, where ``error`` is that it could not be said; else ``None``."""
    return getattr(error.__context__, "exit_code", None)
