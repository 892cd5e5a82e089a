"""Figures written as they come: lines of JSON, and what TensorBoard reads."""

import json
from pathlib import Path
from typing import IO, Any, Self

from specctl.errors import ParameterError, StoreError


class JsonLines:
    """One line of JSON for each event, in a file that can be read while it grows.

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
        mode = "a" if append else "w" if overwrite else "x"
        try:
            self._file: IO[str] = path.open(mode, encoding="utf-8")
        except FileExistsError as error:
            raise StoreError(f"{path} already exists; pass --overwrite to replace it") from error
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __call__(self, event: dict[str, Any]) -> None:
        """Write an event; those of decoding are left out."""
        if event["event"] == "decode":
            return
        try:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
        except OSError as error:
            raise StoreError(f"cannot write {self._path}: {error.strerror or error}") from error


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
                "--tensorboard needs TensorBoard; install specctl-audio[tensorboard]"
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
        if name not in self._writers:
            self._writers[name] = self._build(str(self._folder / name))
        for key, value in event.items():
            if isinstance(value, float):
                self._writers[name].add_scalar(key, value, event["step"])
