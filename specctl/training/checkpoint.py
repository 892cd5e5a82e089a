"""The state of a training in a file: complete or absent, and nothing but data."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from specctl.durable import write_atomically
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
    TrainingError
        If the file cannot be read or is no checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror or error}") from error
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is no checkpoint, or is damaged") from error
    if not isinstance(state, dict) or "step" not in state:
        raise TrainingError(f"{path} is no checkpoint of a training")
    return state
