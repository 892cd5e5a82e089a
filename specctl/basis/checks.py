"""Reading safetensors files of strangers: sizes are checked before memory is taken.

The layout is eight bytes with the length of a JSON header, the header, then the numbers. Every
tensor's place, type and shape is compared with the file's size before a number is read.
"""

import json
import stat
import struct
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from specctl.basis.record import TENSORS
from specctl.errors import BasisError
from specctl.presence import is_regular_file

_MAX_HEADER_BYTES = 1 << 20
_MAX_FILE_BYTES = 1 << 33
_LENGTH = struct.Struct("<Q")


class CheckedHeader(NamedTuple):
    """What the header of a file says, after it was compared with the file."""

    words: dict[str, str]
    places: dict[str, tuple[tuple[int, ...], int, int]]  # shape, first byte, last byte


def read_checked(path: Path) -> tuple[CheckedHeader, dict[str, np.ndarray]]:
    """The strings and the tensors of a file.

    Raises
    ------
    BasisError
        If the file is not what a basis file must be.
    """
    try:
        # a pipe or a device is refused before it is opened
        if not stat.S_ISREG(path.stat().st_mode):
            raise BasisError(f"{path} is not a file")
        with path.open("rb") as file:
            return _read(path, file)
    except OSError as error:
        raise BasisError(f"cannot read {path}: {error.strerror}") from error


def is_state_dict(path: Path | str) -> bool:
    """Whether a file is one of ``torch.save``, by its name or its first bytes."""
    path = Path(path)
    if path.suffix in (".pt", ".pth"):
        return True
    try:
        if not is_regular_file(path):
            return False
        with path.open("rb") as file:
            # a zip archive, or the pickle that torch wrote before; a basis file would claim a
            # header of many MB
            return file.read(4) in (b"PK\x03\x04", b"\x80\x02\x8a\x0a")
    except OSError:
        return False


def header_bytes(start: bytes) -> bytes:
    """The header at the start of a safetensors file, not yet checked; empty for other files."""
    if len(start) < _LENGTH.size:
        return b""
    (length,) = _LENGTH.unpack_from(start)
    header = start[_LENGTH.size : _LENGTH.size + min(length, _MAX_HEADER_BYTES)]
    return header if length <= _MAX_HEADER_BYTES and header.startswith(b"{") else b""


def _read(path: Path, file: IO[bytes]) -> tuple[CheckedHeader, dict[str, np.ndarray]]:
    n_bytes = file.seek(0, 2)
    file.seek(0)
    start = file.read(_LENGTH.size)
    if len(start) < _LENGTH.size or n_bytes > _MAX_FILE_BYTES:
        raise BasisError(f"{path} is not a specctl basis file: it has {n_bytes} bytes")
    (length,) = _LENGTH.unpack(start)
    if not 2 <= length <= min(_MAX_HEADER_BYTES, n_bytes - _LENGTH.size):
        raise BasisError(
            f"{path} is not a specctl basis file: it claims a header of {length} bytes"
        )
    header = _header(path, file.read(length))
    _check_places(path, header, n_bytes - _LENGTH.size - length)
    arrays = {}
    for name, (shape, first, last) in header.places.items():
        file.seek(_LENGTH.size + length + first)
        data = file.read(last - first)
        if len(data) != last - first:
            raise BasisError(f"{path} is damaged: {name} is cut off")
        arrays[name] = np.frombuffer(data, dtype="<f4").reshape(shape).astype(np.float32)
    return header, arrays


def _header(path: Path, text: bytes) -> CheckedHeader:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BasisError(f"{path} is not a specctl basis file: its header is not JSON") from error
    words = entries.pop("__metadata__", {}) if isinstance(entries, dict) else None
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise BasisError(f"{path} is not a specctl basis file: its header has no metadata")
    unknown = sorted(set(entries) - set(TENSORS))
    if unknown:
        raise BasisError(
            f"{path} has a tensor that a basis file does not have: {unknown[0]!r:.80}"
        )
    places = {name: _place(path, name, entries[name]) for name in TENSORS if name in entries}
    return CheckedHeader(words, places)


def _place(path: Path, name: str, entry: Any) -> tuple[tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or entry.get("dtype") != "F32":
        kind = entry.get("dtype") if isinstance(entry, dict) else entry
        raise BasisError(f"{path}: {name} must be of type F32, got {kind!r:.80}")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise BasisError(f"{path} is damaged: {name} has no proper shape and place")
    return tuple(shape), offsets[0], offsets[1]


def _are_counts(values: Any) -> bool:
    """Whether it is a short list of whole numbers that are not negative."""
    return (
        isinstance(values, list)
        and len(values) <= 8
        and all(type(value) is int and 0 <= value < 1 << 63 for value in values)
    )


def _check_places(path: Path, header: CheckedHeader, n_bytes: int) -> None:
    """Tensors lie one after another, fill the file, and are as large as their shapes."""
    end = 0
    for name, (shape, first, last) in sorted(header.places.items(), key=lambda item: item[1][1:]):
        size = 4
        for length in shape:
            size *= length
        if first != end or last - first != size:
            raise BasisError(
                f"{path} is damaged: {name} of shape {shape} takes {size} bytes, "
                f"the file gives it bytes {first} to {last}"
            )
        end = last
    if end != n_bytes:
        raise BasisError(f"{path} is damaged: {end} bytes of numbers claimed, {n_bytes} there")
