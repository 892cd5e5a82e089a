"""The command ``specctl``: one Typer app, each command in a module of its own."""

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup, TyperOption

from specctl.cli.streams import Messages, Output
from specctl.errors import KernelError, ParameterError, SpecctlError
from specctl.version import __version__

_LEAST_COLUMNS = 76
"""On a narrower terminal the tables of a help in colours would cut off what is in them."""


class _Command(TyperCommand):
    """A command whose help has a type for what takes a value, and for no switch."""

    def get_params(self, ctx: Any) -> list[Any]:
        """What can be given."""
        return _without_types(super().get_params(ctx))


class _Group(TyperGroup):
    """The same of all commands together."""

    def get_params(self, ctx: Any) -> list[Any]:
        """What can be given."""
        return _without_types(super().get_params(ctx))


def _without_types(params: list[Any]) -> list[Any]:
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params


app = typer.Typer(
    name="specctl",
    cls=_Group,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if shutil.get_terminal_size().columns >= _LEAST_COLUMNS else None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Folders of audio to HDF5 spectrogram stores, exactly and without losing work.",
)
out = Console(file=cast(IO[str], Output()), emoji=False)
_messages = cast(IO[str], Messages())
err = Console(
    file=_messages,
    stderr=True,
    emoji=False,
    # colours may be asked for (FORCE_COLOR) where no bar can move
    force_interactive=None if _messages.isatty() else False,
)

command = partial(app.command, cls=_Command)

_NEEDING_A_FOLDER = ("bench", "convert", "doctor", "export-basis", "train-basis")
"""Commands whose libraries or workers cannot begin where the current folder is gone."""


class ExitCode:
    """What the exit status says; the README lists the same numbers."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SOME_FAILED = 3
    INTERRUPTED = 130
    UNREAD = 141
    TERMINATED = 143


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn a :class:`SpecctlError` into one line on stderr and an exit code.

    A setting that is wrong, or cannot be had here, exits with 2, as a wrong flag does,
    everything else with 1.
    Anything that is no `SpecctlError` is a bug and goes through with its traceback.
    """
    try:
        yield
    except (ParameterError, KernelError) as error:
        print_error(error)
        raise typer.Exit(ExitCode.USAGE) from error
    except SpecctlError as error:
        print_error(error)
        raise typer.Exit(ExitCode.FAILED) from error


@contextmanager
def importing() -> Iterator[None]:
    """Import without looking for garbage, of which there is none: a seventh of a short command."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def print_line(text: str) -> None:
    """A line of the answer as it is: no markup, no colours, no wrapping."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def say(text: str, style: str | None = None) -> None:
    """A line on stderr as it is."""
    err.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_error(error: SpecctlError) -> None:
    """One line on stderr."""
    from specctl.cli.draw import printable

    say(printable(f"specctl: {error}"), style="red")


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"specctl {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand in _NEEDING_A_FOLDER:
        with reported_errors():
            _check_current_folder()


def _check_current_folder() -> None:
    try:
        Path.cwd()
    except OSError as error:
        message = "the current folder is gone; change to another one"
        raise SpecctlError(message) from error
