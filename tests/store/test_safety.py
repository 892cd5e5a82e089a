"""Stores as strangers may send them; each is refused in words, and nothing else is opened."""

import os
import shutil
import struct
import subprocess
import sys
import zlib

import h5py
import numpy as np
import pytest

from specctl.errors import StoreError
from specctl.store import seal
from specctl.store.reader import open_store
from specctl.store.safety import CheckedFile, open_file
from specctl.store.verify import verify_store

from .hostile import ATTACKS, unknown_filter
from .stores import make_store, small_layout
from .test_verify import seal_again


@pytest.fixture
def path(tmp_path):
    return make_store(tmp_path).path


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"s3cret!!" * 1000)
    return path


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_refuses(path, secret, attack):
    message = attack(path, secret)
    with pytest.raises(StoreError, match=message):
        open_store(path)


@pytest.mark.parametrize("name", ["scale_factor", "add_offset"])
@pytest.mark.parametrize("value", [None, 7], ids=["missing", "another-type"])
def test_codes_are_not_taken_for_values(tmp_path, name, value):
    path = make_store(tmp_path, small_layout("int16")).path
    with h5py.File(path, "r+") as file:
        del file["spectrogram"].attrs[name]
        if value is not None:
            file["spectrogram"].attrs[name] = value
    with pytest.raises(StoreError, match=f"damaged: {name} must be a float64, got {value}"):
        open_store(path)


@pytest.mark.parametrize("name", ["scale_factor", "add_offset", "max_error"])
def test_codes_are_not_scaled_by_numbers_that_have_changed(tmp_path, name):
    path = make_store(tmp_path, small_layout("int16")).path
    with h5py.File(path, "r+") as file:
        attributes = file["spectrogram"].attrs
        attributes.modify(name, np.nextafter(attributes[name], 0))
    changed = "its scale_factor, add_offset or max_error does not match their checksum"
    with pytest.raises(StoreError, match=f"damaged: {changed}; convert again"):
        open_store(path)
    assert [changed in problem.message for problem in verify_store(path)] == [True]


def test_codes_of_stores_without_a_checksum_of_their_scale_are_read(tmp_path):
    made = make_store(tmp_path, small_layout("int16"))
    with h5py.File(made.path, "r+") as file:
        del file["spectrogram"].attrs["scale_sha256"]
    with open_store(made.path) as store:
        assert list(store) == list(made.values)


def test_a_chunk_that_inflates_without_end_takes_no_memory(tmp_path):
    made = make_store(tmp_path, small_layout())
    bomb = zlib.compress(bytes(50_000_000), 9)
    with h5py.File(made.path, "r+") as file:
        file["spectrogram"].id.write_direct_chunk((0, 0), bomb)
    seal_again(made.path)
    # the stored bytes already are more than a chunk can have
    cannot = "chunk 0 of /spectrogram cannot be read"
    with open_store(made.path) as store, pytest.raises(StoreError, match=cannot):
        store["anna/0.wav"]
    bomb = zlib.compress(bytes(1_000_000), 9)
    assert len(bomb) < 1200
    with h5py.File(made.path, "r+") as file:
        file["spectrogram"].id.write_direct_chunk((0, 0), bomb)
    seal_again(made.path)
    cannot = r"chunk 0 .*cannot be decompressed"
    with open_store(made.path) as store, pytest.raises(StoreError, match=cannot):
        store["anna/0.wav"]


def tree_entry(chunk):
    """The entry of a chunk in HDF5's B-tree: its size, no filter mask, its place."""
    return struct.pack("<IIQQQ", chunk.size, 0, *chunk.chunk_offset, 0)


def test_a_plain_chunk_that_claims_more_bytes_writes_no_foreign_memory(tmp_path):
    made = make_store(tmp_path, small_layout(compression="none"))
    with h5py.File(made.path) as file:
        chunk = file["spectrogram"].id.get_chunk_info(3)
    entry = tree_entry(chunk)
    whole = made.path.read_bytes()
    assert whole.count(entry) == 1
    # as much as there is in the file behind it, and far more than a chunk
    made.path.write_bytes(whole.replace(entry, struct.pack("<I", 16_000) + entry[4:]))
    with open_store(made.path) as store:
        assert (store["anna/2.wav"] == made.values["anna/2.wav"].T).all()


def test_a_chunk_that_skips_its_filters_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["spectrogram"].id.write_direct_chunk((0, 0), bytes(8 * 7 * 4), filter_mask=1)
    with pytest.raises(StoreError, match="damaged: chunk 0"):
        open_store(path)["anna/0.wav"]


def test_a_chunk_that_claims_to_skip_a_filter_is_damaged_though_its_checksum_fits(path):
    with h5py.File(path) as file:
        chunk = file["spectrogram"].id.get_chunk_info(0)
    whole = path.read_bytes()
    entry = tree_entry(chunk)
    path.write_bytes(whole.replace(entry, entry[:4] + struct.pack("<I", 1) + entry[8:]))
    assert [problem.key for problem in verify_store(path)] == ["", "anna/0.wav", "anna/1.wav"]


def test_more_chunks_than_rows_are_not_counted_to_their_end(path):
    whole = path.read_bytes()
    shape, shorter = (struct.pack("<QQQQ", n, 7, 2**64 - 1, 7) for n in (64, 56))
    assert whole.count(shape) == 1
    path.write_bytes(whole.replace(shape, shorter))
    checked = CheckedFile(path)
    with pytest.raises(StoreError, match="/spectrogram has more than its 7 chunks"):
        checked.check_seal(checked.spectrogram())
    checked.close()


def test_attributes_without_end_are_refused(path):
    with h5py.File(path, "r+", track_order=True) as file:
        for number in range(1100):
            file.attrs[f"a{number}"] = number
    with open_store(path) as store, pytest.raises(StoreError, match=r"/ has 11\d\d attributes, t"):
        _ = store.attributes


def inherited():
    """The environment without what reading has set in this process already."""
    return {name: value for name, value in os.environ.items() if name != "HDF5_PLUGIN_PRELOAD"}


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_no_plug_in_is_loaded_for_a_filter_that_a_store_asks_for(path, tmp_path):
    trace = tmp_path / "loaded"
    (tmp_path / "plugins").mkdir()
    source = f'''#include <stdio.h>
        __attribute__((constructor)) static void load(void) {{ fclose(fopen("{trace}", "w")); }}
        int H5PLget_plugin_type(void) {{ return 0; }}
        const void *H5PLget_plugin_info(void) {{ return 0; }}'''
    command = ["cc", "-shared", "-fPIC", "-xc", "-", "-o", tmp_path / "plugins" / "libf.so"]
    subprocess.run(command, input=source, text=True, check=True)
    unknown_filter(path, None)
    with h5py.File(path, "r+") as file:
        file["spectrogram"].id.write_direct_chunk((0, 0), bytes(8 * 7 * 4))
    readers = {
        False: f"from specctl import open_store; open_store({str(path)!r})",
        True: f"import h5py; h5py.File({str(path)!r})['spectrogram'][0]",
    }
    environment = {**inherited(), "HDF5_PLUGIN_PATH": str(tmp_path / "plugins")}
    for is_loaded, code in readers.items():
        command = [sys.executable, "-c", code]
        subprocess.run(command, check=False, capture_output=True, env=environment)
        assert trace.exists() == is_loaded


def test_random_damage_never_gives_anything_but_a_store_error(path):
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    n_refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 30)):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            with open_store(path) as store:
                for key in store:
                    store[key]
                _ = store.attributes, store.config, store.errors
        except StoreError:
            n_refused += 1
    assert n_refused > 50


def test_a_seal_that_is_there_twice_is_none():
    value = seal.placeholder()
    whole = b"a" * 100 + value.encode() + b"b" * 50 + value.encode()

    def read(offset, n_bytes):
        return whole[offset : offset + n_bytes]

    with pytest.raises(StoreError, match="its seal is there 2 times"):
        seal.find(read, len(whole), [], value)
    # what lies in a chunk does not count
    assert seal.find(read, len(whole), [(230, len(whole))], value) == 100


def test_a_store_that_is_replaced_once_it_is_open_is_read_to_its_end(tmp_path, monkeypatch):
    old, new = make_store(tmp_path).path, tmp_path / "new"
    new.mkdir()
    other = make_store(new, lengths=(3, 40)).path

    def replaced_behind(path):
        file = open_file(path)
        os.replace(other, path)
        return file

    n_bytes = old.stat().st_size
    monkeypatch.setattr("specctl.store.safety.open_file", replaced_behind)
    assert verify_store(old) == []
    monkeypatch.undo()
    assert old.stat().st_size != n_bytes
    assert verify_store(old) == []


@pytest.mark.parametrize("driver", ["stdio", "core"])
def test_reads_through_a_descriptor_whatever_driver_hdf5_is_told_to_use(path, driver):
    """And without plug-ins."""
    code = f"""
import os
from specctl.store.verify import verify_store
print(verify_store({str(path)!r}), os.environ["HDF5_PLUGIN_PRELOAD"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**inherited(), "HDF5_DRIVER": driver},
    )
    assert done.stdout == "[] ::\n"
