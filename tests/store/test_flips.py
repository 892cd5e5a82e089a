"""Whatever changes in a store, verify finds it; a change in frames is named with the items."""

import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from specctl.store.reader import open_store
from specctl.store.verify import verify_store

from .flips import STORES, chunk_places, items_in, missed_flips, store_of

N_FLIPS = 160
"""In each of three stores; `test_any_flipped_bit_is_found` takes about 10 ms for each."""
SHARE_IN_CHUNKS = 0.2
"""They have one checksum each and are much alike; the rest of a file has many parts."""


@pytest.fixture(params=STORES)
def path(request, tmp_path):
    return store_of(request.param, tmp_path)


def test_any_flipped_bit_is_found(path):
    assert missed_flips(path, N_FLIPS, share=SHARE_IN_CHUNKS) == []


def swapped(whole, chunks):
    (start, stop, _), (other, other_stop, _) = chunks[0], chunks[1]
    n = min(stop - start, other_stop - other)
    first, second = whole[start : start + n], whole[other : other + n]
    whole[start : start + n], whole[other : other + n] = second, first
    return chunks[:2]


def duplicated(whole, chunks):
    (start, stop, _), (other, other_stop, _) = chunks[2], chunks[4]
    n = min(stop - start, other_stop - other)
    whole[other : other + n] = whole[start : start + n]
    return [chunks[4]]


def blanked(whole, chunks):
    start, stop, _ = chunks[2]
    whole[start:stop] = bytes(stop - start)
    return [chunks[2]]


@pytest.mark.parametrize("damage", [swapped, duplicated, blanked], ids=lambda each: each.__name__)
def test_chunks_in_the_wrong_place_are_found(path, damage):
    whole = bytearray(path.read_bytes())
    places = damage(whole, chunk_places(path))
    expected = set().union(*(items_in(path, row) for _, _, row in places))
    path.write_bytes(whole)
    assert {problem.key for problem in verify_store(path)} - {""} == expected


def test_a_chunk_that_the_file_does_not_have_is_found(path):
    """The entry of a chunk in HDF5's tree names another chunk's rows."""
    with h5py.File(path) as file:
        dataset = file["spectrogram"].id
        third, fourth = dataset.get_chunk_info(2), dataset.get_chunk_info(3)
        missing = items_in(path, fourth.chunk_offset[0])
    whole = bytearray(path.read_bytes())
    entries = [np.array([c.size, 0], "<u4").tobytes() for c in (third, fourth)]
    entries = [
        head + np.array([*c.chunk_offset, 0], "<u8").tobytes()
        for head, c in zip(entries, (third, fourth), strict=True)
    ]
    assert whole.count(entries[1]) == 1
    path.write_bytes(whole.replace(entries[1], entries[0]))
    assert missing <= {problem.key for problem in verify_store(path)} | {""}
    assert verify_store(path)


def test_a_cut_store_is_found_at_any_length(path):
    whole = path.read_bytes()
    for size in np.linspace(0, len(whole) - 1, 30).astype(int):
        path.write_bytes(whole[:size])
        assert verify_store(path), size


def test_bytes_after_the_end_are_found(path):
    path.write_bytes(path.read_bytes() + b"\0")
    assert verify_store(path)


@pytest.mark.parametrize("name", ["units", "long_name"])
def test_an_edited_attribute_is_found(path, name):
    with h5py.File(path, "r+") as file:
        file["spectrogram"].attrs[name] = np.bytes_("x")
    (problem,) = verify_store(path)
    assert problem == ("", "attributes and structure do not match their seal")


def test_a_store_without_a_seal_is_a_problem(path):
    with h5py.File(path, "r+") as file:
        del file.attrs["seal_sha256"]
    assert verify_store(path) == [("", "attributes and structure have no seal")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_store_is_never_open_for_writing(path):
    modes = []

    def look(*_):
        for link in Path("/proc/self/fd").iterdir():
            if os.path.realpath(link) == os.path.realpath(path):
                info = Path(f"/proc/self/fdinfo/{link.name}").read_text()
                flags = int(info.split("flags:")[1].split()[0], 8)
                modes.append(flags & (os.O_WRONLY | os.O_RDWR))

    assert verify_store(path, look) == []
    with open_store(path) as store:
        _ = store["anna/0.wav"]
        look()
    assert len(modes) > 1
    assert set(modes) == {os.O_RDONLY}
