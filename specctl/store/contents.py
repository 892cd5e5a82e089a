"""All that a store holds besides its spectrograms: tables, and attributes of the root."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import h5py
import numpy as np

from specctl.store.hdf5 import write_attribute, write_table
from specctl.store.layout import FORMAT, FORMAT_VERSION
from specctl.store.stats import Moments
from specctl.store.tables import Table, tables_digest
from specctl.version import __version__

_IN_HZ = {"units": "Hz"}
_OF_COEFFICIENTS = {"units": "1", "long_name": "index of the coefficient"}
_AXES = ("frame", "frequency", "re_im")
"""Scales of ``/spectrogram``; readers of netCDF take all axes named, or none."""
_NO_VALUES = "This is a netCDF dimension but not a netCDF variable.{:10}"
"""Name by which they know a scale that is an axis and nothing else."""


def stats_table(moments: Moments, n_bins: int) -> Table:
    """Count, mean and standard deviation of each bin; of complex values for both parts."""
    shape = (n_bins, -1) if len(moments.mean) > n_bins else (-1,)
    return {
        "count": np.array(moments.count, dtype="<i8"),
        "mean": moments.mean.reshape(shape),
        "std": moments.std.reshape(shape),
    }


def write_tables(file: h5py.File, tables: dict[str, Table]) -> None:
    """Write each table to the group it is named for, and give ``/spectrogram`` its scales."""
    for name, table in tables.items():
        write_table(file.create_group(name) if name else file, table)
    dataset = file["spectrogram"]
    for axis, (name, length) in enumerate(zip(_AXES, dataset.shape, strict=False)):
        if name in file:
            file[name].make_scale(name)
        else:
            # nothing is written, so it takes no room
            file.create_dataset(name, shape=(length,), dtype="<f4")
            file[name].make_scale(_NO_VALUES.format(length))
        dataset.dims[axis].attach_scale(file[name])


def write_root_attributes(
    file: h5py.File, attributes: Mapping[str, str | int | float], tables: dict[str, Table]
) -> None:
    """Write what the store says of itself, the digest of all tables and units of bins among it."""
    values: dict[str, str | int | float] = {
        "specctl_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **attributes,
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "tables_sha256": tables_digest(tables),
    }
    for name, value in values.items():
        write_attribute(file, name, value)
    is_cepstral = json.loads(str(attributes["config"])).get("feature") == "mfcc"
    for name, text in (_OF_COEFFICIENTS if is_cepstral else _IN_HZ).items():
        write_attribute(file["frequency"], name, text)
