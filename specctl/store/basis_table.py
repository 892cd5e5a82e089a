"""The trained basis that a store was made with, as the group ``/basis`` keeps it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from specctl.basis.record import TENSORS, Basis, checked_metadata
from specctl.config import SpectrogramConfig
from specctl.errors import ParameterError, StoreError
from specctl.store.safety import CheckedFile
from specctl.store.tables import Table

_MAX_ABOUT_BYTES = 60_000


def basis_table(basis: Basis) -> Table:
    """Columns of ``/basis``; metadata that are too long for a store are left to the basis file."""
    about = {
        "trained": list(basis.trained),
        "metadata": json.loads(checked_metadata(basis.metadata)),
    }
    data = json.dumps(about).encode()
    if len(data) > _MAX_ABOUT_BYTES:
        data = json.dumps({**about, "metadata": {}}).encode()
    arrays = {name: array.astype("<f4") for name, array in basis.tensors.items()}
    return {"about": np.array([data], dtype=f"S{len(data)}"), **arrays}


def read_basis_table(checked: CheckedFile) -> Table | None:
    """Columns of ``/basis``, none larger than the file; ``None`` without such a group."""
    if not checked.has("basis"):
        return None
    table = {"about": checked.array("basis/about", "S", (1,))}
    for name in TENSORS:
        if checked.has(f"basis/{name}"):
            rank = 1 if name in ("window", "frequencies") else 2
            table[name] = checked.array(f"basis/{name}", "f4", (None,) * rank)
    return table


def stored_basis(path: Path, table: Table, config: Mapping[str, Any]) -> Basis:
    """The basis in a store, checked against the store's settings and their fingerprint.

    Raises
    ------
    StoreError
        If it is damaged, or not the one that the settings name.
    """
    settings = {name: config.get(name) for name in SpectrogramConfig.model_fields}
    try:
        about = json.loads(table["about"][0])
        basis = Basis(
            config=SpectrogramConfig.from_dict(settings),
            trained=tuple(map(str, about["trained"])),
            metadata=dict(about["metadata"]),
            **{name: table[name].astype(np.float32) for name in TENSORS if name in table},
        )
    except (ParameterError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: /basis: {error}") from error
    if basis.fingerprint() != config.get("basis"):
        raise StoreError(f"{path} is damaged: /basis is not the one that its settings name")
    return basis
