"""``verify --repair``: what is damaged is made again, what is good stays, nothing else changes."""

import json
import shutil
import struct

import h5py
import numpy as np
import pytest

from specctl import convert_audio, open_store
from specctl.audio.decode import open_audio
from specctl.convert import Options, merging, repair
from specctl.convert.repair import Repair, repair_store
from specctl.errors import AudioError, StoreError
from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import assert_nothing_beside, invoke, run_script
from tests.store.test_verify import seal_again

HERE = Options(workers=0)
SETTINGS = {"n_fft": 512, "n_mels": 20}


@pytest.fixture
def folder(tmp_path):
    folder = corpus(tmp_path / "in", 6)
    (folder / "x" / "bad.wav").write_bytes(b"")
    return folder


def converted(folder, path, **settings):
    path.parent.mkdir(exist_ok=True)
    options = Options(workers=0, labels="folder")
    convert_audio(folder, path, options=options, **{**SETTINGS, **settings})
    return path


@pytest.fixture
def store(folder, tmp_path):
    return converted(folder, tmp_path / "out" / "o.h5")


def flip(path, chunk=0, n_bytes=9):
    """Damage one byte of a chunk of the spectrogram."""
    with h5py.File(path) as file:
        place = file["spectrogram"].id.get_chunk_info(chunk).byte_offset + n_bytes
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 16
    path.write_bytes(damaged)


def contents(path):
    """Everything that an item has in a store, and what is there besides items."""
    with open_store(path) as store:
        items = {key: (store[key].tobytes(), store.record(key)) for key in store}
        return items, store.errors, store.config, store.attributes["request"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"compression": "none", "dtype": "uint8"},
        {"feature": "complex", "n_mels": None},
        {"segment": 0.4, "channels": "each"},
        {"ref": "max", "top_db": 60.0},
        {"feature": "magnitude", "n_mels": None},
        {"feature": "power", "n_mels": None, "scale": "log10"},
        {"scale": "pcen"},
        {"feature": "mfcc"},
        {"feature": "mfcc", "top_db": None},
    ],
    ids=[
        *("defaults", "plain", "complex", "segments", "ref-max"),
        *("magnitude", "power", "pcen", "mfcc", "mfcc-whole"),
    ],
)
def test_the_store_is_what_it_was(folder, tmp_path, settings):
    store = converted(folder, tmp_path / "out" / "o.h5", **settings)
    before = contents(store)
    with open_store(store) as opened:
        mean, std = opened.mean, opened.std
    flip(store)
    damaged = {problem.key for problem in verify_store(store)} - {""}
    assert damaged
    repair = repair_store(store, folder, options=HERE)
    assert {problem.key for problem in repair.found} - {""} == damaged
    assert repair.repaired
    assert (repair.differing, repair.problems) == ((), ())
    assert contents(store) == before
    with open_store(store) as opened:
        # of what stays, those of the stored values
        off = opened.layout.max_error
        np.testing.assert_allclose(opened.mean, mean, rtol=1e-9, atol=off)
        np.testing.assert_allclose(opened.std, std, rtol=1e-9, atol=off)
    assert_nothing_beside(store)


def test_only_what_is_damaged_is_made_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("specctl.store.layout._MAX_CHUNK_BYTES", 4096)
    store = converted(folder, tmp_path / "out" / "o.h5")
    flip(store)
    damaged = {problem.key for problem in verify_store(store)}
    opened = []

    def open_and_tell(path, **options):
        opened.append(path.removeprefix(f"{folder}/"))
        return open_audio(path, **options)

    monkeypatch.setattr("specctl.convert.part_worker.open_audio", open_and_tell)
    repair = repair_store(store, folder, options=HERE)
    assert set(repair.repaired) == set(opened) == damaged
    assert len(damaged) < 6


def test_a_good_store_is_left_alone(folder, store):
    before = store.stat()
    assert repair_store(store, folder, options=HERE) == Repair()
    after = store.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def harmed(source, harm):
    """Change a source, and tell in which words that is reported."""
    if harm == "changed":
        damaged = bytearray(source.read_bytes())
        damaged[-1] ^= 1
        source.write_bytes(damaged)
        return "has changed"
    source.unlink()
    if harm == "folder":
        source.mkdir()
    return "is missing"


@pytest.mark.parametrize("harm", ["missing", "changed", "folder"])
def test_sources_that_are_not_what_they_were_are_named_and_nothing_is_touched(folder, store, harm):
    flip(store)
    damaged = sorted({problem.key for problem in verify_store(store)} - {""})
    reasons = [f"{key} {harmed(folder / key, harm)}" for key in damaged]
    before = store.read_bytes()
    with pytest.raises(AudioError, match=r"cannot repair .*o\.h5: ") as raised:
        repair_store(store, folder, options=HERE)
    assert all(reason in str(raised.value) for reason in reasons[:5])
    assert store.read_bytes() == before
    assert_nothing_beside(store)


def flip_all(path):
    """Damage each chunk of the spectrogram, and each item in it."""
    with h5py.File(path) as file:
        chunk = file["spectrogram"].id.get_chunk_info
        chunks = [chunk(number) for number in range(file["chunks/crc32"].size)]
    damaged = bytearray(path.read_bytes())
    for chunk in chunks:
        for place in range(chunk.byte_offset + 9, chunk.byte_offset + chunk.size, 997):
            damaged[place] ^= 16
    path.write_bytes(damaged)


def lose_all(path):
    """Damage the tree by which HDF5 finds the chunks."""
    damaged = path.read_bytes()
    assert damaged.count(b"TREE\1") == 1
    path.write_bytes(damaged.replace(b"TREE\1", b"EERT\1"))


def misstate_all(path):
    """Damage the sizes that the tree has of the chunks, which are still found."""
    with h5py.File(path) as file:
        chunk = file["spectrogram"].id.get_chunk_info
        sizes = [chunk(number).size for number in range(file["chunks/crc32"].size)]
    damaged = bytearray(path.read_bytes())
    at = damaged.index(b"TREE\1")
    for size in sizes:
        at = damaged.index(struct.pack("<II", size, 0), at)
        damaged[at + 3] = 16
    path.write_bytes(damaged)


@pytest.mark.parametrize(
    ("compression", "damage", "harm"),
    [
        ("none", flip_all, "missing"),
        ("gzip", flip_all, "changed"),
        ("none", lose_all, "changed"),
        ("gzip", lose_all, "missing"),
        ("gzip", misstate_all, "missing"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [4096, 2**20], ids=["chunks-of-their-own", "one-chunk"])
def test_one_source_that_is_gone_does_not_keep_the_others_damaged(
    folder, tmp_path, monkeypatch, compression, chunk_bytes, harm, damage
):
    monkeypatch.setattr("specctl.store.layout._MAX_CHUNK_BYTES", chunk_bytes)
    store = converted(folder, tmp_path / "out" / "o.h5", compression=compression)
    before = contents(store)
    damage(store)
    (gone, *others) = sorted({problem.key for problem in verify_store(store)} - {""})
    assert len(others) == 5
    spared = tmp_path / "spared.wav"
    shutil.copy2(folder / gone, spared)
    reason = harmed(folder / gone, harm)
    repair = repair_store(store, folder, options=HERE)
    assert (set(repair.repaired), repair.differing) == (set(others), ())
    named = {problem.key: problem.message for problem in repair.problems}
    lost = "" if damage is flip_all else "; what could not be read of it is gone from the store"
    assert named[gone].endswith(f"; {gone} {reason}{lost}")
    # a chunk that cannot be blanked, where it holds others
    assert {problem.key for problem in verify_store(store)} - {""} == {gone}
    with open_store(store) as opened:
        for key in others:
            assert opened[key].tobytes() == before[0][key][0]
        with pytest.raises(StoreError, match="is damaged"):
            opened[gone]
        assert (opened.record(gone), opened.errors) == (before[0][gone][1], before[1])
    shutil.copy2(spared, folder / gone)
    assert repair_store(store, folder, options=HERE).problems == ()
    assert contents(store) == before
    assert verify_store(store) == []
    assert_nothing_beside(store)


def test_what_shares_a_chunk_with_damage_needs_no_source(folder, tmp_path):
    store = converted(folder, tmp_path / "out" / "o.h5", compression="none")
    before = contents(store)
    flip(store)
    (hit, *spared) = [problem.key for problem in verify_store(store) if problem.key]
    assert len(spared) == 5
    for key in spared:
        (folder / key).unlink()
    repair = repair_store(store, folder, options=HERE)
    assert (repair.repaired, repair.differing, repair.problems) == ((hit,), (), ())
    assert contents(store) == before
    assert verify_store(store) == []


def test_a_damaged_index_is_not_trusted(folder, store):
    with h5py.File(store, "r+") as file:
        file["index/sha256"][0] = b"0" * 64
    before = store.read_bytes()
    with pytest.raises(StoreError, match=r"o\.h5 is damaged: its index, "):
        repair_store(store, folder, options=HERE)
    assert store.read_bytes() == before


def test_damaged_settings_are_not_used(folder, store):
    with h5py.File(store, "r+") as file:
        config = json.loads(file.attrs["config"])
        file.attrs["config"] = np.bytes_(json.dumps({**config, "fmin": 10.0}))
    with pytest.raises(StoreError, match="its settings do not match their fingerprint; convert"):
        repair_store(store, folder, options=HERE)


@pytest.mark.parametrize("units", [np.bytes_("x"), "of any length", [1, 2]])
def test_damage_between_the_items_needs_no_source(folder, store, units):
    before = contents(store)
    with h5py.File(store, "r+") as file:
        file["spectrogram"].attrs["units"] = units
    repair = repair_store(store, folder, options=HERE)
    assert (repair.repaired, repair.problems) == ((), ())
    assert len(repair.found) == 1
    assert contents(store) == before
    assert verify_store(store) == []


def test_statistics_alone_need_no_source(folder, store):
    before = contents(store)
    with open_store(store) as opened:
        mean, std = opened.mean, opened.std
    with h5py.File(store, "r+") as file:
        file["stats/mean"][3] += 1
        file["stats/std"][5] *= 2
    seal_again(store)
    made = repair_store(store, folder, options=HERE)
    assert [problem.message.split()[0] for problem in made.found] == ["stats/mean", "stats/std"]
    assert (made.repaired, made.problems) == ((), ())
    assert contents(store) == before
    with open_store(store) as opened:
        np.testing.assert_allclose(opened.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(opened.std, std, rtol=1e-12)
    assert verify_store(store) == []


def test_an_update_does_not_launder_a_damaged_index(folder, store):
    with h5py.File(store, "r+") as file:
        file["index/label"][0] = b"w"
    write_noise(folder / "new.wav")
    with pytest.raises(StoreError, match=r"o\.h5 is damaged: its index, .* with --overwrite$"):
        convert_audio(
            folder, store, options=Options(workers=0, update=True, labels="folder"), **SETTINGS
        )
    # that is seen before the work
    assert_nothing_beside(store)


@pytest.mark.parametrize("how", ["add", "replace"])
def test_an_update_of_what_is_damaged_names_the_repair_and_goes_on_after_it(
    folder, tmp_path, monkeypatch, how
):
    monkeypatch.setattr("specctl.store.layout._MAX_CHUNK_BYTES", 3000)
    # layouts are kept, by their settings
    settings = {**SETTINGS, "n_mels": 19}
    store = converted(folder, tmp_path / "out" / "o.h5", n_mels=19)
    flip(store, 0)
    (damaged, *_) = sorted({problem.key for problem in verify_store(store)} - {""})
    changed = {"add": "new.wav", "replace": "z/005.flac"}[how]
    write_noise(folder / changed, seed=77)
    updating = Options(workers=0, update=True)
    with pytest.raises(
        StoreError, match=r"o\.h5 is damaged: .*; specctl verify --repair \S+o\.h5 SOURCE\.\.\. "
    ):
        convert_audio(folder, store, options=updating, **settings)
    assert repair_store(store, folder, options=HERE).problems == ()
    summary = convert_audio(folder, store, options=updating, **settings)
    assert (summary.n_resumed, summary.n_converted) == (1, 1)
    assert verify_store(store) == []
    with open_store(store) as opened:
        assert {damaged, changed} <= set(opened)


def test_the_command_repairs_and_says_so(folder, store):
    before = contents(store)
    flip(store)
    done = run_script("verify", store, folder, "--repair", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["problems"]) == (0, True, []), done.stderr
    assert report["found"]
    assert report["repaired"]
    assert report["differing"] == []
    assert contents(store) == before
    done = invoke(store, folder, "--repair", command="verify")
    assert done.stdout.splitlines()[-1].endswith("all good")


def test_the_command_repairs_what_it_can_and_fails_where_sources_are_gone(folder, store):
    flip(store)
    damaged = sorted({problem.key for problem in verify_store(store)} - {""})
    for key in damaged[1:]:
        (folder / key).rename(folder / f"{key}.away")
    some = invoke(store, folder, "--repair", command="verify")
    assert (some.returncode, some.stderr) == (1, "")
    assert "repaired: 1 item made again" in some.stdout.splitlines()
    assert f"; {damaged[1]} is missing\n" in some.stdout
    (folder / damaged[0]).unlink()
    none = invoke(store, folder, "--repair", command="verify")
    assert none.returncode == 1
    assert none.stderr.startswith(f"specctl: cannot repair {store}: {damaged[1]} is missing, ")


def test_a_store_that_is_replaced_meanwhile_is_not_repaired(folder, store, tmp_path, monkeypatch):
    others = corpus(tmp_path / "others", 3)
    flip(store)
    compared = repair._unchanged_sources

    def replacing(*args):
        found = compared(*args)
        anew = Options(workers=0, overwrite=True)
        convert_audio(others, store, options=anew, **SETTINGS)
        return found

    monkeypatch.setattr(repair, "_unchanged_sources", replacing)
    with pytest.raises(StoreError, match="was replaced meanwhile; give the command again"):
        repair_store(store, folder, options=HERE)
    assert verify_store(store) == []
    with open_store(store) as made:
        assert len(made) == 3
    assert_nothing_beside(store)


def test_a_repair_of_nothing_but_the_seal_can_be_given_again(folder, store, monkeypatch):
    with h5py.File(store, "r+") as file:
        file.attrs["created"] = "2001-01-01T00:00:00Z"
    publish = merging.publish
    monkeypatch.setattr(merging, "publish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        repair_store(store, folder, options=HERE)
    monkeypatch.setattr(merging, "publish", publish)
    assert repair_store(store, folder, options=HERE).problems == ()
    assert_nothing_beside(store)
