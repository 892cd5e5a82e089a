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
from specctl.store.reader import open_store

from .stores import make_store, small_layout


@pytest.fixture
def path(tmp_path):
    return make_store(tmp_path).path


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"s3cret!!" * 1000)
    return path


def replace_dataset(path, name, **options):
    """Put another dataset in the place of one, with its data where that fits."""
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs) if name == "spectrogram" else {}
        del file[name]
        dataset = file.create_dataset(name, **options)
        for key in set(attributes) - {"DIMENSION_LIST"}:
            dataset.attrs[key] = attributes[key]


def external_storage(path, secret):
    replace_dataset(
        path, "index/start", shape=(6,), dtype="<i8", external=[(str(secret), 0, 8 * 6)]
    )
    return r"index/start keeps its data in another file; refused"


def external_link(path, secret):
    other = secret.with_suffix(".h5")
    shutil.copy(path, other)
    with h5py.File(path, "r+") as file:
        del file["index"]
        file["index"] = h5py.ExternalLink(str(other), "/index")
    return r"index/key is a link to elsewhere; refused"


def soft_link(path, _):
    with h5py.File(path, "r+") as file:
        file.move("index/key", "index/other")
        file["index/key"] = h5py.SoftLink("/index/other")
    return r"index/key is a link to elsewhere; refused"


def virtual_dataset(path, secret):
    other = secret.with_suffix(".h5")
    shutil.copy(path, other)
    virtual = h5py.VirtualLayout(shape=(64, 7), dtype="<f4")
    virtual[:] = h5py.VirtualSource(str(other), "spectrogram", shape=(64, 7))
    with h5py.File(path, "r+") as file:
        del file["spectrogram"]
        file.create_virtual_dataset("spectrogram", virtual)
    return r"spectrogram keeps its data in another file; refused"


def _chunked(path, shape, chunks, filters=(), dtype=h5py.h5t.IEEE_F32LE):
    with h5py.File(path, "r+") as file:
        del file["spectrogram"]
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        create.set_chunk(chunks)
        for add in filters:
            add(create)
        space = h5py.h5s.create_simple(shape)
        h5py.h5d.create(file.id, b"spectrogram", dtype, space, dcpl=create)


def gzip_twice(path, _):
    _chunked(path, (64, 7), (8, 7), [lambda create: create.set_deflate(1)] * 2)
    return r"must have the filters shuffle and deflate, or none, got the HDF5 filters 1, 1"


def unknown_filter(path, _):
    def add(create):
        create.set_filter(32008, h5py.h5z.FLAG_OPTIONAL, ())

    _chunked(path, (64, 7), (8, 7), [add])
    return r"got the HDF5 filters 32008"


def fletcher_filter(path, _):
    _chunked(path, (64, 7), (8, 7), [lambda create: create.set_fletcher32()])
    return r"got the HDF5 filters 3"


def huge_chunk(path, _):
    _chunked(path, (1 << 20, 1 << 10), (1 << 20, 1 << 10))
    return r"/spectrogram has chunks of 4294967296 bytes, too many"


def endless_array(path, _):
    _chunked(path, (1 << 40, 7), (8, 7))
    return r"/spectrogram claims 137438953472 chunks it does not have"


def split_frames(path, _):
    _chunked(path, (64, 7), (8, 1))
    return r"in chunks of whole frames, got shape \(64, 7\) and chunks \(8, 1\)"


def half_a_chunk(path, _):
    _chunked(path, (60, 7), (8, 7))
    return r"/spectrogram must be whole chunks, got 60 rows"


def contiguous_spectrogram(path, _):
    replace_dataset(path, "spectrogram", shape=(64, 7), dtype="<f4")
    return r"/spectrogram must be stored in chunks"


def big_endian(path, _):
    _chunked(path, (64, 7), (8, 7), dtype=h5py.h5t.IEEE_F32BE)
    return r"/spectrogram has a type that a store does not have there"


def array_type(path, _):
    _chunked(path, (64, 7), (8, 7), dtype=h5py.h5t.array_create(h5py.h5t.IEEE_F32LE, (1 << 22,)))
    return r"/spectrogram has a type that a store does not have there"


def variable_strings(path, _):
    replace_dataset(path, "index/key", data=["a"] * 6, dtype=h5py.string_dtype())
    return r"index/key has a type that a store does not have there"


def variable_attribute(path, _):
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "specctl-store"
    return r"attribute format of / has a type that a store does not have there"


def references(path, _):
    replace_dataset(path, "index/start", shape=(6,), dtype=h5py.ref_dtype)
    return r"index/start has a type that a store does not have there"


def compressed_index(path, _):
    replace_dataset(path, "index/start", shape=(6,), dtype="<i8", chunks=(6,), compression="gzip")
    return r"index/start must be stored contiguously"


def index_without_data(path, _):
    replace_dataset(path, "index/start", shape=(6,), dtype="<i8")
    return r"index/start claims 48 bytes it does not have"


def endless_index(path, _):
    replace_dataset(path, "index/key", shape=(1 << 40,), dtype="S64")
    return r"index/key claims 70368744177664 bytes it does not have"


def short_column(path, _):
    replace_dataset(path, "index/start", data=np.zeros(5, dtype="<i8"))
    return r"index/start must have shape \(6\), got \(5,\)"


def rows_outside(path, _):
    with h5py.File(path, "r+") as file:
        file["index/start"][3] = (1 << 63) - 2
    return r"item 'ben/0.wav' is outside the 64 rows"


def negative_length(path, _):
    with h5py.File(path, "r+") as file:
        file["index/length"][3] = -1
    return r"item 'ben/0.wav' is outside the 64 rows"


def same_keys(path, _):
    with h5py.File(path, "r+") as file:
        file["index/key"][1] = file["index/key"][0]
    return r"a key in /index comes more than once"


def group_for_a_dataset(path, _):
    with h5py.File(path, "r+") as file:
        del file["frequency"]
        file.create_group("frequency")
    return r"frequency is not a dataset"


def dataset_for_a_group(path, _):
    with h5py.File(path, "r+") as file:
        del file["stats"]
        file["stats"] = 1
    return r"not a specctl store: stats/count is missing"


def missing_dataset(path, _):
    with h5py.File(path, "r+") as file:
        del file["index/digest"]
    return r"out.h5 is not a specctl store: index/digest is missing"


def other_hdf5(path, _):
    with h5py.File(path, "w") as file:
        file["x"] = 1
    return r"out.h5 is not a specctl store: its attribute format is None"


def newer_version(path, _):
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 3
    return (
        r"out.h5 has format version 3, this specctl reads 1 to 1; "
        r"upgrade specctl or convert again"
    )


def attribute_of_two_values(path, _):
    with h5py.File(path, "r+") as file:
        file["spectrogram"].attrs["max_error"] = np.array([1.0, 2.0])
    return r"attribute max_error of spectrogram must be one value"


def not_hdf5(path, _):
    path.write_text("RIFF")
    return r"out.h5 is not an HDF5 file"


def empty_file(path, _):
    path.write_bytes(b"")
    return r"out.h5 is not an HDF5 file"


def cut_file(path, _):
    path.write_bytes(path.read_bytes()[:-1000])
    return r"out.h5: the file cannot be read: .*truncated"


def missing_file(path, _):
    path.unlink()
    return r"cannot open .*out.h5: No such file or directory"


def folder(path, _):
    path.unlink()
    path.mkdir()
    return r"out.h5 is not a file"


def fifo(path, _):
    path.unlink()
    os.mkfifo(path)
    return r"out.h5 is not a file"


ATTACKS = [
    external_storage,
    external_link,
    soft_link,
    virtual_dataset,
    gzip_twice,
    unknown_filter,
    fletcher_filter,
    huge_chunk,
    endless_array,
    split_frames,
    half_a_chunk,
    contiguous_spectrogram,
    big_endian,
    array_type,
    variable_strings,
    variable_attribute,
    references,
    compressed_index,
    index_without_data,
    endless_index,
    short_column,
    rows_outside,
    negative_length,
    same_keys,
    group_for_a_dataset,
    dataset_for_a_group,
    missing_dataset,
    other_hdf5,
    newer_version,
    attribute_of_two_values,
    not_hdf5,
    empty_file,
    cut_file,
    missing_file,
    folder,
    fifo,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_refuses(path, secret, attack):
    message = attack(path, secret)
    with pytest.raises(StoreError, match=message):
        open_store(path)


def test_a_chunk_that_inflates_without_end_takes_no_memory(tmp_path):
    made = make_store(tmp_path, small_layout())
    bomb = zlib.compress(bytes(50_000_000), 9)
    with h5py.File(made.path, "r+") as file:
        file["spectrogram"].id.write_direct_chunk((0, 0), bomb)
        file["chunks/crc32"][0] = zlib.crc32(bomb)
    # the stored bytes already are more than a chunk can have
    with pytest.raises(StoreError, match="chunk 0 of /spectrogram cannot be read"):
        open_store(made.path)["anna/0.wav"]
    bomb = zlib.compress(bytes(1_000_000), 9)
    assert len(bomb) < 1200
    with h5py.File(made.path, "r+") as file:
        file["spectrogram"].id.write_direct_chunk((0, 0), bomb)
        file["chunks/crc32"][0] = zlib.crc32(bomb)
    with pytest.raises(StoreError, match=r"chunk 0 .*cannot be decompressed"):
        open_store(made.path)["anna/0.wav"]


def test_a_plain_chunk_that_claims_more_bytes_writes_no_foreign_memory(tmp_path):
    made = make_store(tmp_path, small_layout(compression="none"))
    with h5py.File(made.path) as file:
        chunk = file["spectrogram"].id.get_chunk_info(3)
    # the entry of the chunk in HDF5's B-tree: its size, no filter mask, its place
    entry = struct.pack("<IIQQQ", chunk.size, 0, *chunk.chunk_offset, 0)
    whole = made.path.read_bytes()
    assert whole.count(entry) == 1
    made.path.write_bytes(whole.replace(entry, struct.pack("<I", 1 << 20) + entry[4:]))
    with open_store(made.path) as store:
        assert (store["anna/1.wav"] == made.values["anna/1.wav"].T).all()


def test_a_chunk_that_skips_its_filters_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["spectrogram"].id.write_direct_chunk((0, 0), bytes(8 * 7 * 4), filter_mask=1)
    with pytest.raises(StoreError, match="damaged: chunk 0"):
        open_store(path)["anna/0.wav"]


def test_keeps_plug_ins_out():
    code = "import os, specctl.store.reader; print(os.environ['HDF5_PLUGIN_PRELOAD'])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "::\n"


def test_random_damage_never_gives_anything_but_a_store_error(path):
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    n_refused = 0
    for _ in range(300):
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
    assert n_refused > 100
