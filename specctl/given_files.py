"""Reading small files that people hand over: settings, tables of labels, lists of files.

Each may be a mistake or a stranger's: a device without end, a disk image, a folder.
"""

import codecs
import csv
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from specctl.errors import ParameterError

MAX_SETTINGS_BYTES = 1 << 20
MAX_TABLE_BYTES = 1 << 30
"""Room for ten million lines of a hundred bytes."""


UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""Marks at the start of text that is not UTF-8, as some programs of Windows write it."""


def check_given(path: Path, what: str, max_bytes: int) -> None:
    """Raise ParameterError unless a path is a regular file of at most ``max_bytes``.

    Parameters
    ----------
    what : str
        What the file should be: ``settings``.

    Raises
    ------
    ParameterError
        The file is missing, is not a regular file, or is too large.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - a name with NUL raises ValueError
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ParameterError(f"cannot read {what}: {path}: {reason}") from error
    if stat.S_ISDIR(status.st_mode):
        raise ParameterError(f"cannot read {what}: {path}: Is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise ParameterError(f"cannot read {what}: {path}: not a regular file")
    if status.st_size > max_bytes:
        raise ParameterError(
            f"{what} must be at most {max_bytes} bytes, {path} has {status.st_size}"
        )


def check_given_or_pipe(path: Path, what: str, max_bytes: int) -> None:
    """As `check_given`, but what comes through a pipe is good: whoever writes it ends it."""
    with reported(path, what):
        is_pipe = path.is_fifo()
    if not is_pipe:
        check_given(path, what, max_bytes)


def read_label_rows(
    path: Path, others: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with the columns ``path`` and ``label``.

    Parameters
    ----------
    others : sequence of str
        Columns that are read, too, where they are there.

    Yields
    ------
    line : int
    row : dict
        Column to text, without spaces around it; empty where there is none. Paths are without
        ``./`` at the start.

    Raises
    ------
    ParameterError
        If the file cannot be read, is too large, lacks a column or has it twice, or a row has more
        cells than the heading.
    """
    check_given(path, "labels", MAX_TABLE_BYTES)
    with reported(path, "labels"), path.open(newline="", encoding=_encoding(path)) as file:
        reader = csv.DictReader(file, strict=True)
        columns = [name.strip() for name in reader.fieldnames or ()]
        if not columns.count("path") == columns.count("label") == 1:
            there = (", ".join(columns) or "none")[:200]
            there = "".join(each if each.isprintable() else " " for each in there)
            raise ParameterError(
                f"labels must have the columns path and label, each once, {path} has {there}"
            )
        reader.fieldnames = columns
        for row in reader:
            # under no name: cells beyond the heading; spreadsheets fill rows up with empty ones
            beyond = "".join(row.get(None, ())).strip()
            if beyond:
                raise ParameterError(
                    f"line {reader.line_num} of {path} must have {len(columns)} cells, as its "
                    f"heading has, got {beyond!r:.80} beyond; put a label with commas in quotes"
                )
            names = ("path", "label", *others)
            cells = {name: (row.get(name) or "").strip() for name in names}
            yield reader.line_num, {**cells, "path": cells["path"].removeprefix("./")}


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in UTF_16 else "utf-8-sig"


@contextmanager
def reported(path: Path, what: str) -> Iterator[None]:
    """Turn what can go wrong while a table is read into ParameterError."""
    try:
        yield
    except OSError as error:
        raise ParameterError(f"cannot read {what}: {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ParameterError(f"cannot read {what}: {path}: {error}") from error
