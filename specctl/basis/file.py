"""Writing basis files, and reading them as if they came from strangers."""

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from specctl.basis.checks import CheckedHeader, header_bytes, read_checked
from specctl.basis.record import Basis, checked_metadata
from specctl.config import SpectrogramConfig
from specctl.durable import Kind, check_place, check_replaced, is_there, write_atomically
from specctl.errors import BasisError, ParameterError, StoreError
from specctl.version import __version__

FORMAT = "specctl-basis"
FORMAT_VERSION = 1

BASIS = Kind("basis file", "basis files", lambda start: FORMAT.encode() in header_bytes(start))


def save_basis(path: Path | str, basis: Basis, *, overwrite: bool = False) -> None:
    """Write a basis file; it is complete or absent, also after a power cut.

    Raises
    ------
    BasisError
        If the file exists and ``overwrite`` is not set or it is no basis file, or it cannot be
        written.
    ParameterError
        If JSON cannot hold the metadata, or they are more than a file may have.
    """
    path = Path(path)
    metadata = checked_metadata(basis.metadata)
    check_absent(path, BASIS, overwrite=overwrite)
    words = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": basis.config.to_json(),
        "trained": json.dumps(list(basis.trained)),
        "metadata": metadata,
        "specctl_version": __version__,
    }
    arrays = {name: array.astype("<f4", order="C") for name, array in basis.tensors.items()}
    write_whole(path, save(arrays, metadata=words))


def check_absent(path: Path, kind: Kind, *, overwrite: bool) -> None:
    """Raise BasisError if a file cannot be there, or one is and is not to be overwritten.

    That is one of another ``kind`` in any case.
    """
    try:
        check_place(path)
        if overwrite:
            check_replaced(path, kind)
        is_free = overwrite or not is_there(path)
    except StoreError as error:
        raise BasisError(str(error)) from error
    if not is_free:
        raise BasisError(f"{path} already exists; pass --overwrite to replace it")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is complete or absent, also after a power cut; BasisError if it cannot."""
    try:
        write_atomically(path, data)
    except StoreError as error:
        raise BasisError(str(error)) from error


def load_basis(path: Path | str) -> Basis:
    """Read a basis file, which may come from a stranger.

    Returns
    -------
    Basis
        Everything in it was checked: sizes against the file before memory is taken, shapes
        against the settings, numbers for being finite. Nothing in a file is ever run.

    Raises
    ------
    BasisError
        If the file is missing, damaged, of a newer version, or no basis file.
    """
    path = Path(path)
    header, arrays = read_checked(path)
    config = _config(path, header)
    try:
        return Basis(
            config=config,
            trained=tuple(map(str, _json(path, header, "trained", list))),
            metadata=_json(path, header, "metadata", dict),
            **arrays,
        )
    except (ParameterError, TypeError) as error:
        reason = error if isinstance(error, ParameterError) else "a weight is missing"
        raise BasisError(f"{path} is damaged: {reason}") from error


def _config(path: Path, header: CheckedHeader) -> SpectrogramConfig:
    if header.words.get("format") != FORMAT:
        raise BasisError(f"{path} is not a specctl basis file")
    version = header.words.get("format_version", "")
    if version != str(FORMAT_VERSION):
        raise BasisError(
            f"{path} has format version {version[:20]!r}, this specctl reads {FORMAT_VERSION}; "
            "upgrade specctl or train again"
        )
    try:
        return SpectrogramConfig.from_dict(_json(path, header, "config", dict))
    except ParameterError as error:
        raise BasisError(f"{path} is damaged: {error}") from error


def _json(path: Path, header: CheckedHeader, name: str, kind: type) -> Any:
    try:
        value = json.loads(header.words[name])
    except (KeyError, ValueError, RecursionError) as error:
        raise BasisError(f"{path} is damaged: {name} is missing or is not JSON") from error
    if not isinstance(value, kind):
        raise BasisError(f"{path} is damaged: {name} must be a JSON {kind.__name__}")
    return value
