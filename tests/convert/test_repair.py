"""``verify --repair``: what is damaged is made again, what is good stays, nothing else changes."""

import json

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
from tests.convert.commands import assert_nothing_beside, run_script
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
    assert damaged <= set(repair.repaired)
    assert (repair.differing, repair.problems) == ((), ())
    assert contents(store) == before
    with open_store(store) as opened:
        np.testing.assert_allclose(opened.mean, mean, rtol=1e-9)
        np.testing.assert_allclose(opened.std, std, rtol=1e-9)
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


@pytest.mark.parametrize("harm", ["missing", "changed", "folder"])
def test_a_source_that_is_not_what_it_was_is_named_and_nothing_is_touched(folder, store, harm):
    flip(store)
    (first, *_) = sorted({problem.key for problem in verify_store(store)} - {""})
    source = folder / first
    if harm == "changed":
        damaged = bytearray(source.read_bytes())
        damaged[-1] ^= 1
        source.write_bytes(damaged)
    else:
        source.unlink()
    if harm == "folder":
        source.mkdir()
    before = store.read_bytes()
    reason = "has changed" if harm == "changed" else "is missing"
    with pytest.raises(AudioError, match=f"cannot repair .*o.h5: .*{first} {reason}"):
        repair_store(store, folder, options=HERE)
    assert store.read_bytes() == before
    assert_nothing_beside(store)


def test_a_damaged_index_is_not_trusted(folder, store):
    with h5py.File(store, "r+") as file:
        file["index/sha256"][0] = b"0" * 64
    before = store.read_bytes()
    with pytest.raises(StoreError, match=r"o\.h5 is damaged: its index does not match"):
        repair_store(store, folder, options=HERE)
    assert store.read_bytes() == before


def test_damaged_settings_are_not_used(folder, store):
    with h5py.File(store, "r+") as file:
        config = json.loads(file.attrs["config"])
        file.attrs["config"] = np.bytes_(json.dumps({**config, "fmin": 10.0}))
    with pytest.raises(StoreError, match="its settings are damaged; convert again"):
        repair_store(store, folder, options=HERE)


def test_damage_between_the_items_needs_no_source(folder, store):
    before = contents(store)
    with h5py.File(store, "r+") as file:
        file["spectrogram"].attrs["units"] = np.bytes_("x")
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
    with pytest.raises(StoreError, match=r"o\.h5 is damaged: its index does not match"):
        convert_audio(
            folder, store, options=Options(workers=0, update=True, labels="folder"), **SETTINGS
        )


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
    done = run_script("verify", store, folder, "--repair")
    assert done.stdout.splitlines()[-1].endswith("all good")


def test_the_command_fails_in_one_line_where_a_source_is_gone(folder, store):
    flip(store)
    (first, *_) = sorted({problem.key for problem in verify_store(store)} - {""})
    (folder / first).unlink()
    done = run_script("verify", store, folder, "--repair")
    assert done.returncode == 1
    assert done.stderr == f"specctl: cannot repair {store}: {first} is missing\n"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--repair",), "--repair and SOURCE must be given together"),
        (("in",), "--repair and SOURCE must be given together"),
        (("--workers", 2), "workers has no effect without --repair"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(store, flags, text):
    done = run_script("verify", store, *flags)
    assert done.returncode == 2
    assert done.stderr == f"specctl: {text}\n"


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
