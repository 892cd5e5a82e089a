"""Figures written as they come: lines of JSON, and what TensorBoard reads."""

import json
import math
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, Self

from specctl.durable import check_place, reported_os_errors
from specctl.errors import ParameterError, StoreError
from specctl.presence import exists


def to_json(values: object) -> str:
    """JSON in one line; numbers that are not finite, which it does not have, are null."""
    return json.dumps(_finite(values), allow_nan=False)


def _finite(values: object) -> object:
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


class JsonLines:
    """One line of JSON for each event, in a file that can be read while it grows.

    The file is opened for the first event: until then a training may refuse to begin.

    Parameters
    ----------
    path : Path
    append : bool
        Go on behind what is there, where a training is resumed. Steps since the last
        checkpoint then stand in it twice.
    overwrite : bool
        Replace what is there.

    Raises
    ------
    StoreError
        If the file exists and neither is given, or it cannot be written.
    """

    def __init__(self, path: Path, *, append: bool = False, overwrite: bool = False) -> None:
        self._path = path
        self._mode = "a" if append else "w" if overwrite else "x"
        self._file: FileIO | None = None
        check_place(path)
        with reported_os_errors(path):
            if self._mode == "x" and exists(path):
                raise StoreError(f"{path} already exists; pass --overwrite to replace it")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __call__(self, event: dict[str, Any]) -> None:
        """Write an event, but for those of finding and decoding files."""
        if event["event"] in ("left out", "decode", "copies"):
            return
        with reported_os_errors(self._path):
            if self._file is None:
                self._file = FileIO(self._path, self._mode)
            _write_whole(self._file.fileno(), f"{to_json(event)}\n".encode())


def _write_whole(file: int, line: bytes) -> None:
    """Write a line at the end, or none of it: what is gone on with starts a line of its own."""
    n_written = 0
    try:
        while n_written < len(line):
            n_written += os.write(file, line[n_written:])
    except OSError:
        with suppress(OSError):
            os.ftruncate(file, os.fstat(file).st_size - n_written)
        raise


class TensorBoardFolder:
    """Loss and accuracy of every training as curves of TensorBoard.

    Raises
    ------
    ParameterError
        If TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ParameterError(
                "--tensorboard needs TensorBoard; pip install 'specctl-audio[tensorboard]'"
            ) from error
        self._folder = folder
        self._build: Any = SummaryWriter
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()

    def __call__(self, event: dict[str, Any]) -> None:
        """Add the numbers of a step or an epoch."""
        if event["event"] not in ("step", "epoch"):
            return
        name = f"run{event['run'] + 1}-{event['arm']}"
        with reported_os_errors(self._folder):
            if name not in self._writers:
                self._writers[name] = self._build(str(self._folder / name))
            for key, value in event.items():
                if isinstance(value, float):
                    self._writers[name].add_scalar(key, value, event["step"])
