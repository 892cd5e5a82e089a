"""The state of a training in a file: complete or absent, and nothing but data."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from specctl.durable import reported_os_errors, write_atomically
from specctl.errors import StoreError, TrainingError


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, texts, lists and dicts.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        write_atomically(path, buffer.getvalue())
    except StoreError as error:
        raise StoreError(f"{error}; mend that and go on with --resume") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote; a file that holds code is refused.

    Raises
    ------
    StoreError
        If the file cannot be read.
    TrainingError
        If it is no checkpoint.
    """
    with reported_os_errors(path, "read"):
        data = path.read_bytes()
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is no checkpoint, or is damaged") from error
    if not isinstance(state, dict) or "step" not in state:
        raise TrainingError(f"{path} is no checkpoint of a training")
    return state
