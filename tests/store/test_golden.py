"""Stores that were written by the first version of each format are read by this one."""

import json
import shutil

import h5py
import numpy as np
import pytest

from specctl.errors import StoreError
from specctl.store.layout import FORMAT_VERSION
from specctl.store.reader import open_store
from specctl.store.verify import verify_store
from tests.store.golden.make import FOLDER, STORES, contents

SINCE_ADDED = {"truncated": False}
"""Fields of an item that stores of the same version may lack, and what that means."""

GOLDEN = sorted(FOLDER.glob("v*.h5"))
every_store = pytest.mark.parametrize("path", GOLDEN, ids=[path.stem for path in GOLDEN])


def test_each_format_has_its_stores():
    wanted = {f"v{v}-{name}" for v in range(1, FORMAT_VERSION + 1) for name in STORES}
    assert {path.stem for path in GOLDEN} >= wanted


@every_store
def test_everything_in_it_is_read_as_it_was(path):
    wanted = json.loads(path.with_suffix(".json").read_text())
    for record in wanted["records"]:
        record |= {name: value for name, value in SINCE_ADDED.items() if name not in record}
    assert contents(path) == wanted


@every_store
def test_it_has_no_problems(path):
    assert verify_store(path) == []


@every_store
def test_it_is_read_without_specctl_as_the_readme_says(path):
    with h5py.File(path) as file, open_store(path) as store:
        dataset = file["spectrogram"]
        for row, key in enumerate(store):
            start, length = file["index/start"][row], file["index/length"][row]
            spec = dataset[start : start + length].astype(np.float32)
            if "scale_factor" in dataset.attrs:
                spec = spec * dataset.attrs["scale_factor"] + dataset.attrs["add_offset"]
            if spec.ndim == 3:
                spec = spec[..., 0] + 1j * spec[..., 1]
            np.testing.assert_allclose(store[key], spec.T, rtol=0, atol=1e-5)


@every_store
@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, 2**31])
def test_a_version_that_nobody_knows_yet_is_refused_by_name(path, version, tmp_path):
    future = tmp_path / "future.h5"
    shutil.copyfile(path, future)
    with h5py.File(future, "r+") as file:
        file.attrs["format_version"] = version
    with pytest.raises(StoreError, match=rf"has format version {version}, this specctl reads 1 t"):
        open_store(future)
    (problem,) = verify_store(future)
    assert "upgrade specctl or convert again" in problem.message
