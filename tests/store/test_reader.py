import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import h5py
import numpy as np
import pytest

from specctl.errors import StoreError
from specctl.store.reader import open_store

from .stores import (
    ATTRIBUTES,
    CONFIG,
    make_store,
    merge,
    random_values,
    small_layout,
    write_part,
)


@pytest.fixture
def made(tmp_path):
    return make_store(tmp_path)


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int16", "uint8"])
def test_items_are_frequency_by_time_in_float32(tmp_path, dtype, compression):
    made = make_store(tmp_path, small_layout(dtype, compression))
    with open_store(made.path) as store:
        for key, values in made.values.items():
            spec = store[key]
            assert (spec.dtype, spec.shape) == (np.float32, values.T.shape)
            assert spec.flags.c_contiguous
            assert spec.flags.writeable
            np.testing.assert_allclose(spec, values.T, rtol=0, atol=made.layout.max_error)


def test_complex_items_are_complex64(tmp_path):
    made = make_store(tmp_path, small_layout(is_complex=True))
    with open_store(made.path) as store:
        values = made.values["anna/1.wav"]
        assert store["anna/1.wav"].dtype == np.complex64
        assert (store["anna/1.wav"] == (values[..., 0] + 1j * values[..., 1]).T).all()
        assert store.mean.shape == (7, 2)


@pytest.mark.parametrize(
    ("layout", "shape", "dtype"),
    [
        (small_layout("uint8"), (7, 19), np.uint8),
        (small_layout("float16"), (7, 19), np.float16),
        (small_layout(is_complex=True), (7, 19, 2), np.float32),
    ],
)
def test_undecoded_items_are_as_stored(tmp_path, layout, shape, dtype):
    made = make_store(tmp_path, layout)
    with open_store(made.path, decode=False) as store:
        spec = store["anna/1.wav"]
        assert (spec.shape, spec.dtype) == (shape, dtype)


@pytest.mark.parametrize("start", [0, 1, 7, 18, 19, 30, -3, -40])
@pytest.mark.parametrize("stop", [None, 0, 5, 18, 19, 30, -1, -40])
def test_read_takes_frames_as_a_slice_does(made, start, stop):
    with open_store(made.path) as store:
        expected = made.values["ben/1.wav"].T[:, start:stop]
        assert (store.read("ben/1.wav", start, stop) == expected).all()
        assert store.read("ben/1.wav", start, stop).shape == expected.shape


def test_is_a_mapping(made):
    with open_store(made.path) as store:
        assert list(store) == list(store.keys()) == list(made.values)
        assert len(store) == 6
        assert "anna/0.wav" in store
        assert "nobody" not in store
        assert {key: spec.shape[1] for key, spec in store.items()} == {
            key: len(values) for key, values in made.values.items()
        }
        assert store.get("nobody") is None
        assert store == store
        assert repr(store) == f"Store({str(made.path)!r}, 6 items)"


def test_get_of_an_unknown_key_looks_for_no_nearest(made, monkeypatch):
    # among thousands of keys that takes half a second, for each of those that are asked for
    monkeypatch.setattr("difflib.get_close_matches", None)
    with open_store(made.path) as store:
        assert store.get("ana/0.wav") is None
        assert store.get("ana/0.wav", 3) == 3
        assert store.get(["ana"], default=3) == 3
        assert (store.get("anna/0.wav", 3) == store["anna/0.wav"]).all()


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("0.wav", "anna/0.wav"), ("ana/0.wav", "anna/0.wav"), ("ben/1.flac", "ben/1.wav")],
)
def test_an_unknown_key_names_the_nearest(made, key, nearest):
    with open_store(made.path) as store, pytest.raises(KeyError) as caught:
        store[key]
    assert caught.value.args[0] == (f"{made.path} has no item {key!r}; did you mean {nearest!r}?")


def test_a_key_in_another_unicode_form_is_told_apart(tmp_path):
    layout, decomposed = small_layout(), unicodedata.normalize("NFD", "a/über.wav")
    part = write_part(tmp_path / "a", layout, {decomposed: random_values(layout, 3, seed=0)})
    merge([part], tmp_path / "out.h5", layout)
    with open_store(tmp_path / "out.h5") as store, pytest.raises(KeyError) as caught:
        store[unicodedata.normalize("NFC", decomposed)]
    assert caught.value.args[0].endswith(r"did you mean 'a/u\u0308ber.wav', of other characters?")


def test_an_unknown_key_like_no_other_names_none(made):
    with open_store(made.path) as store, pytest.raises(KeyError) as caught:
        store["zzzz"]
    assert caught.value.args[0].endswith("has no item 'zzzz'")


def test_settings_that_have_changed_are_an_error(made):
    with h5py.File(made.path, "r+") as file:
        file.attrs["config"] = np.bytes_(CONFIG.replace("160", "161"))
    with open_store(made.path) as store:
        assert store["anna/0.wav"].shape == (7, 5)
        with pytest.raises(StoreError, match="its settings do not match their fingerprint"):
            _ = store.config


def test_tells_what_the_store_holds(made):
    with open_store(made.path) as store:
        assert store.n_frames == 50
        assert store.config["hop_length"] == 160
        assert store.classes == ["anna", "ben"]
        assert store.labels.tolist() == ["anna"] * 3 + ["ben"] * 3
        assert store.index["length"].tolist() == [5, 19, 1] * 2
        assert store.index["key"][0] == "anna/0.wav"
        assert store.errors == [(f"{who}/bad.wav", "cannot decode") for who in ("anna", "ben")]
        assert store.failures[0].mtime_ns == 4
        assert store.attributes["job"] == ATTRIBUTES["job"]
        assert store.attributes["units"] == "dB"
        assert store.frequency[[0, -1]].tolist() == [0, 8000]
        assert store.layout == made.layout
        record = store.record("ben/1.wav")
        assert (record.source, record.n_frames, record.sample_rate) == ("ben/1.wav", 19, 44100)
        assert store.records[4] == record


@pytest.mark.parametrize("key", [0, b"a", Path("a"), None, 1.5, ("a",), ["a"]])
def test_a_key_that_is_no_string_is_in_no_store(made, key):
    with open_store(made.path) as store:
        assert key not in store
        assert store.get(key) is None
        with pytest.raises(KeyError) as caught:
            store[key]
    assert caught.value.args[0] == f"{made.path} has no item {key!r}; its keys are strings"


def test_a_name_with_nul_is_no_store():
    with pytest.raises(StoreError, match=r"cannot open .*embedded null "):
        open_store("a\0.h5")


def test_a_closed_store_says_so(made):
    store = open_store(made.path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match=r"out.h5 is closed"):
        store["anna/0.wav"]
    assert repr(store) == f"Store({str(made.path)!r}, closed)"


def test_can_be_pickled_and_opens_the_file_again(made):
    with open_store(made.path) as store:
        twin = pickle.loads(pickle.dumps(store))
        assert (twin["anna/1.wav"] == store["anna/1.wav"]).all()
        assert len(pickle.dumps(store)) < 1000


def read_in_child(store, queue):
    queue.put((os.getpid(), store["ben/1.wav"]))


@pytest.mark.parametrize("method", ["fork", "spawn"])
# the parent of a fork has threads here: those of torch and of the test runner
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_reads_the_same_in_a_child_process(made, method):
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    with open_store(made.path) as store:
        expected = store["ben/1.wav"]
        child = context.Process(target=read_in_child, args=(store, queue))
        child.start()
        pid, spec = queue.get()
        child.join()
        assert pid == child.pid
        assert (spec == expected).all()
        assert (store["anna/1.wav"] == made.values["anna/1.wav"].T).all()


def test_a_store_replaced_before_a_fork_is_noticed(made, tmp_path, monkeypatch):
    with open_store(made.path) as store:
        other = make_store(tmp_path / "..", lengths=(2, 3)).path
        other.replace(made.path)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(StoreError, match="has changed since it was opened"):
            store["ben/1.wav"]
        monkeypatch.undo()


def test_a_store_that_was_only_touched_is_read_on(made, monkeypatch):
    with open_store(made.path) as store:
        os.utime(made.path, ns=(1, 1))
        shutil.copy(made.path, made.path.with_suffix(".copy"))
        made.path.with_suffix(".copy").replace(made.path)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert (store["anna/1.wav"] == made.values["anna/1.wav"].T).all()


def test_a_store_replaced_before_it_is_unpickled_is_noticed(made, tmp_path):
    with open_store(made.path) as store:
        pickled = pickle.dumps(store)
    assert len(pickle.loads(pickled)) == 6
    make_store(tmp_path / "..", lengths=(2, 3)).path.replace(made.path)
    with pytest.raises(StoreError, match="has changed since it was opened"):
        len(pickle.loads(pickled))


def test_is_found_by_other_processes_after_a_change_of_folder(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_store("out.h5") as store:
        monkeypatch.chdir("/")
        assert len(pickle.loads(pickle.dumps(store))) == 6
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert (store["anna/1.wav"] == made.values["anna/1.wav"].T).all()
        monkeypatch.undo()


def test_threads_may_share_a_store(made):
    from concurrent.futures import ThreadPoolExecutor

    with open_store(made.path) as store, ThreadPoolExecutor(4) as pool:
        keys = list(made.values) * 50
        for key, spec in zip(keys, pool.map(store.read, keys), strict=True):
            assert (spec == made.values[key].T).all()


def test_reading_takes_memory_for_a_few_chunks_only(tmp_path):
    layout = type(small_layout()).for_values(1024, compression="none")
    values = {"long": random_values(layout, 12_000, seed=0)}
    merge([write_part(tmp_path / "a", layout, values)], tmp_path / "out.h5", layout)
    with open_store(tmp_path / "out.h5") as store:
        for start in range(0, 12_000, 100):
            store.read("long", start, start + 100)
        assert sum(rows.nbytes for rows in store._file._cache.values()) <= 16 << 20


@pytest.mark.parametrize("where", ["chunk", "index"])
def test_damage_is_an_error_that_names_file_and_place(made, where):
    with h5py.File(made.path) as file:
        if where == "chunk":
            place = file["spectrogram"].id.get_chunk_info(2).byte_offset + 5
        else:
            place = file["index/start"].id.get_offset() + 7
    damaged = bytearray(made.path.read_bytes())
    damaged[place] ^= 0x80
    made.path.write_bytes(damaged)
    message = {
        "chunk": r"out.h5 is damaged: chunk 2 of /spectrogram \(rows 16 to 23\)",
        "index": r"out.h5 is damaged: item 'anna/0.wav' is outside the 64 rows",
    }
    with pytest.raises(StoreError, match=message[where]):
        open_store(made.path)["anna/1.wav"]


def test_a_store_that_another_program_writes_to_is_said_to_be_that(made):
    code = "import h5py, sys; file = h5py.File(sys.argv[1], 'a'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, made.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        writer.stdout.readline()
        with pytest.raises(StoreError, match="another program has it open for writing"):
            open_store(made.path)
        writer.stdin.write(b"\n")


def test_what_a_user_does_to_the_index_changes_no_reading(tmp_path):
    made = make_store(tmp_path)
    with open_store(made.path) as store:
        for column in store.index.values():
            column[:] = column[::-1].copy()
        for key, frames in made.values.items():
            np.testing.assert_array_equal(store[key], frames.T)
        assert store.record("anna/0.wav").n_samples == 5 * 160


@pytest.mark.parametrize(
    ("name", "value"),
    [("index/start", 26), ("index/label", b"dog"), ("stats/std", 1.0), ("frequency", 0.5)],
)
def test_nothing_is_taken_from_tables_that_have_changed(made, name, value):
    with open_store(made.path) as store:
        pickled = pickle.dumps(store)
    with h5py.File(made.path, "r+") as file:
        file[name][2] = value
    with pytest.raises(StoreError, match="do not match their checksum; convert again with --over"):
        open_store(made.path)
    with pytest.raises(StoreError, match="has changed since it was opened"):
        len(pickle.loads(pickled))


def test_an_item_that_could_not_be_made_says_why(made):
    with open_store(made.path) as store, pytest.raises(KeyError) as caught:
        store["ben/bad.wav"]
    assert caught.value.args[0] == (
        f"{made.path} has no item 'ben/bad.wav', it could not be converted: cannot decode"
    )
