"""Flipping bits of small stores, and what `verify_store` must find of it."""

from pathlib import Path

import h5py
import numpy as np

from specctl.store.verify import verify_store

from .stores import make_store, small_layout

STORES = {"gzip": ("float32", "gzip"), "plain": ("uint8", "none"), "complex": ("float32", "gzip")}


def chunk_places(path):
    """First byte, byte after the last and first row of each chunk of the spectrogram."""
    with h5py.File(path) as file:
        dataset = file["spectrogram"].id
        infos = [dataset.get_chunk_info(i) for i in range(dataset.get_num_chunks())]
        return [(c.byte_offset, c.byte_offset + c.size, c.chunk_offset[0]) for c in infos]


def items_in(path, first_row, n_rows=8):
    """Keys of the items with rows in a chunk."""
    with h5py.File(path) as file:
        spans = zip(
            file["index/key"].asstr()[()], file["index/start"], file["index/length"], strict=True
        )
        return {
            key
            for key, start, length in spans
            if start < first_row + n_rows and start + length > first_row
        }


def store_of(name, folder):
    """Path of a store of one of the `STORES`."""
    dtype, compression = STORES[name]
    return make_store(
        Path(folder), small_layout(dtype, compression, is_complex=name == "complex")
    ).path


def missed_flips(path, n_flips, seed=0, share=0.5):
    """Bytes of which a flipped bit is not found, or not with all the items it is in.

    A ``share`` of the flips is in the chunks, the others are anywhere.
    """
    whole = path.read_bytes()
    chunks = [(*place, items_in(path, place[2])) for place in chunk_places(path)]
    random = np.random.default_rng(seed)
    inside = [byte for start, stop, *_ in chunks for byte in range(start, stop)]
    n_inside = int(n_flips * share)
    places = [
        *random.choice(inside, n_inside),
        *random.integers(len(whole), size=n_flips - n_inside),
    ]
    missed = []
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        found = {problem.key for problem in verify_store(path)}
        # elsewhere it may be in the tree that says where a chunk is, or in nothing that is read
        hit = [keys or {""} for start, stop, _, keys in chunks if start <= place < stop]
        # a chunk may have padding after its items, which belongs to none
        if not found or (hit and found - {""} != hit[0] - {""}):
            missed.append((int(place), found))
    return missed
