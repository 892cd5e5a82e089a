"""The state of a training in a file: complete or absent, and nothing but data.

A digest comes before what torch writes, which itself does not notice a flipped bit.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from specctl.durable import reported_os_errors, write_atomically
from specctl.errors import StoreError, TrainingError

_N_DIGEST = 32


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
        write_atomically(path, _digest(buffer.getbuffer()) + buffer.getvalue())
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
    digest, data = data[:_N_DIGEST], data[_N_DIGEST:]
    if digest != _digest(data):
        raise _damaged(path)
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file of somebody makes of torch
        raise _damaged(path) from error
    if not isinstance(state, dict) or "step" not in state:
        raise _damaged(path)
    return state


def _damaged(path: Path) -> TrainingError:
    return TrainingError(
        f"{path} is no checkpoint, or is damaged; remove it, and --resume begins that run again"
    )


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()
