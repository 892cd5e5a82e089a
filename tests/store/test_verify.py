import os
import threading

import h5py
import numpy as np
import pytest

from specctl.errors import StoreError
from specctl.store import seal
from specctl.store.chunks import checksum
from specctl.store.reader import open_store
from specctl.store.store_file import StoreFile
from specctl.store.tables import tables_digest
from specctl.store.verify import Problem, verify_store

from .hostile import replace_dataset
from .stores import make_store, merge, random_values, small_layout, write_part


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize(
    ("dtype", "is_complex"),
    [
        ("float32", False),
        ("float32", True),
        ("float16", False),
        ("int16", False),
        ("uint8", False),
    ],
)
def test_a_good_store_has_no_problems(tmp_path, dtype, is_complex, compression):
    made = make_store(tmp_path, small_layout(dtype, compression, is_complex=is_complex))
    calls = []
    assert verify_store(made.path, lambda done, total: calls.append((done, total))) == []
    assert calls[-1] == (57, 64)


def test_damage_to_a_chunk_names_the_items_in_it(tmp_path):
    made = make_store(tmp_path)
    with h5py.File(made.path) as file:
        place = file["spectrogram"].id.get_chunk_info(0).byte_offset + 9
    damaged = bytearray(made.path.read_bytes())
    damaged[place] ^= 1
    made.path.write_bytes(damaged)
    assert [problem.key for problem in verify_store(made.path)] == ["anna/0.wav", "anna/1.wav"]


@pytest.mark.parametrize("n_threads", [1, 2, 8])
@pytest.mark.parametrize("batch_bytes", [1, 4 << 20])
def test_problems_are_told_in_the_order_of_the_rows(tmp_path, monkeypatch, n_threads, batch_bytes):
    monkeypatch.setattr("specctl.store.examine.usable_cores", lambda: n_threads)
    monkeypatch.setattr("specctl.store.examine._BATCH_BYTES", batch_bytes)
    made = make_store(tmp_path, small_layout(compression="none"), lengths=tuple(range(1, 60)))
    rng = np.random.default_rng(3)
    with h5py.File(made.path) as file:
        dataset = file["spectrogram"].id
        places = [dataset.get_chunk_info(i).byte_offset for i in range(dataset.get_num_chunks())]
    damaged = bytearray(made.path.read_bytes())
    for place in rng.choice(places, 9, replace=False).tolist():
        damaged[place + 2] ^= 64
    made.path.write_bytes(damaged)
    done = []
    found = [problem.key for problem in verify_store(made.path, lambda *rows: done.append(rows))]
    assert done == sorted(done)
    order = list(made.values)
    assert found == sorted(found, key=order.index)
    assert len(found) >= 9


def test_an_interrupt_ends_all_threads(tmp_path, monkeypatch):
    monkeypatch.setattr("specctl.store.examine._BATCH_BYTES", 1)
    made = make_store(tmp_path, lengths=tuple(range(1, 60)))
    before = threading.active_count()

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify_store(made.path, interrupt)
    assert threading.active_count() == before


def seal_again(path):
    """Give a store that was tampered with the checksums that fit it."""
    with h5py.File(path, "r+") as file:
        dataset = file["spectrogram"].id
        for i in range(dataset.get_num_chunks()):
            _, data = dataset.read_direct_chunk(dataset.get_chunk_info(i).chunk_offset)
            file["chunks/crc32"][i] = checksum(data)
    with StoreFile(path) as opened:
        digest = tables_digest(opened.tables)
    placeholder = seal.placeholder()
    with h5py.File(path, "r+") as file:
        file.attrs["tables_sha256"] = np.bytes_(digest)
        file.attrs[seal.SEAL] = np.bytes_(placeholder)
        spans = seal.chunk_spans(file["spectrogram"], file["spectrogram"].shape[0])
    whole = path.read_bytes()

    def read(offset, n_bytes):
        return whole[offset : offset + n_bytes]

    seal_at = seal.find(read, len(whole), spans, placeholder)
    value = seal.compute(read, len(whole), spans, seal_at)
    path.write_bytes(whole.replace(placeholder.encode(), value.encode()))


def problems_after(path, tamper):
    with h5py.File(path, "r+") as file:
        tamper(file)
    seal_again(path)
    return verify_store(path)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_changed_value_is_found_by_the_digest(tmp_path, compression):
    made = make_store(tmp_path, small_layout(compression=compression))

    def tamper(file):
        file["spectrogram"][6, 3] += 1

    assert problems_after(made.path, tamper) == [
        Problem("anna/1.wav", "frames do not match their digest")
    ]


@pytest.mark.parametrize("value", [1.0, -0.0, np.nan])
def test_padding_that_is_not_the_fill_value_is_found(tmp_path, value):
    made = make_store(tmp_path)

    def tamper(file):
        file["spectrogram"][27, 3] = value

    assert problems_after(made.path, tamper) == [
        Problem("", "rows 25 to 31 belong to no item and do not hold the fill value 0")
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("block_values", [7 * 2, 7 * 100], ids=["in-blocks", "at-once"])
def test_values_that_are_not_finite_are_found(tmp_path, monkeypatch, value, block_values):
    import hashlib

    monkeypatch.setattr("specctl.store.stats._BLOCK_VALUES", block_values)
    made = make_store(tmp_path)

    def tamper(file):
        file["spectrogram"][6, 3] = value
        rows = file["spectrogram"][5:24]
        file["index/digest"][1] = hashlib.sha256(rows.tobytes()).hexdigest().encode()

    assert problems_after(made.path, tamper) == [
        Problem("anna/1.wav", "spectrogram has values that are not finite")
    ]


def test_items_that_share_frames_are_found(tmp_path):
    made = make_store(tmp_path)

    def tamper(file):
        file["index/start"][1] = 4

    assert problems_after(made.path, tamper) == [
        Problem("anna/1.wav", "shares frames with another item")
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mean", "stats/mean is not that of the frames, off by up to 1"),
        ("std", "stats/std is not that of the frames, off by up to 1"),
    ],
)
def test_statistics_of_other_frames_are_found(tmp_path, name, message):
    made = make_store(tmp_path)

    def tamper(file):
        file[f"stats/{name}"][2] += 1

    (problem,) = problems_after(made.path, tamper)
    assert problem == Problem("", message)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, -1e308])
def test_statistics_that_are_no_numbers_are_found(tmp_path, value):
    def tamper(file):
        file["stats/std"][2] = value
        file["stats/mean"][3] = value

    problems = problems_after(make_store(tmp_path).path, tamper)
    assert [problem.message.split()[0] for problem in problems] == ["stats/mean", "stats/std"]


def test_a_wrong_count_is_found(tmp_path):
    def tamper(file):
        file["stats/count"][()] = 49

    assert problems_after(make_store(tmp_path).path, tamper) == [
        Problem("", "stats count 49 frames, the items have 50")
    ]


@pytest.mark.parametrize("key", [b"", b"anna/0.wav"])
def test_empty_and_repeated_names_are_found(tmp_path, key):
    def tamper(file):
        file["index/key"][2] = key
        file["errors/key"][1] = file["errors/key"][0]

    assert problems_after(make_store(tmp_path).path, tamper) == [
        Problem("", "/index has an empty key, or one that comes twice"),
        Problem("", "/errors has an empty key, or one that comes twice"),
    ]


def test_an_edited_label_is_found_by_the_checksum_of_the_index(tmp_path):
    made = make_store(tmp_path)
    with h5py.File(made.path, "r+") as file:
        file["index/label"][0] = b"dog"
    (problem,) = verify_store(made.path)
    assert problem.message.startswith(f"{made.path} is damaged: its index, statistics or errors ")


def compressed_again(path):
    with h5py.File(path, "r+") as file:
        file["spectrogram"][...] = file["spectrogram"][...]


def uncompressed(path):
    with h5py.File(path) as file:
        rows = file["spectrogram"][...]
    replace_dataset(path, "spectrogram", data=rows, chunks=(8, 7))


@pytest.mark.parametrize("rewrite", [compressed_again, uncompressed])
def test_values_that_another_program_has_written_anew_are_known_to_be_the_same(tmp_path, rewrite):
    made = make_store(tmp_path)
    rewrite(made.path)
    problems = {problem.key: problem.message for problem in verify_store(made.path)}
    del problems[""]
    assert problems.keys() == made.values.keys()
    same = "; the values of the item are what they were"
    assert all(message.endswith(same) for message in problems.values())
    with open_store(made.path) as store:
        for key, frames in made.values.items():
            assert (store.read(key, 0, -1) == frames.T[:, :-1]).all()
    with h5py.File(made.path, "r+") as file:
        file["spectrogram"][6, 3] += 1
    changed = {problem.key for problem in verify_store(made.path) if same not in problem.message}
    assert changed == {"", "anna/1.wav"}
    with open_store(made.path) as store, pytest.raises(StoreError, match="damaged: chunk"):
        store.read("anna/1.wav", 12)


def test_what_is_no_store_is_one_problem(tmp_path):
    (tmp_path / "x").write_text("no store")
    assert verify_store(tmp_path / "x") == [Problem("", f"{tmp_path}/x is not an HDF5 file")]


def test_a_cut_store_is_a_problem(tmp_path):
    made = make_store(tmp_path)
    whole = made.path.read_bytes()
    for size in range(0, len(whole), 997):
        made.path.write_bytes(whole[:size])
        assert len(verify_store(made.path)) >= 1


def test_a_store_of_one_long_item_is_good(tmp_path):
    layout = type(small_layout()).for_values(80, dtype="int16", value_range=(-100, 30))
    part = write_part(tmp_path / "a", layout, {"long": random_values(layout, 20_001, 0)})
    merge([part], tmp_path / "out.h5", layout)
    assert verify_store(tmp_path / "out.h5") == []


def test_reads_that_give_only_some_bytes_are_gone_on_with(tmp_path, monkeypatch):
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, n_bytes, at: pread(file, -(-n_bytes // 2), at))
    made = make_store(tmp_path)
    assert verify_store(made.path) == []
    monkeypatch.undo()
    assert verify_store(made.path) == []
