"""``verify --forget``: what is damaged and cannot be made again leaves the store, and is said."""

import json
import shutil

import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options, merging
from specctl.convert.repair import repair_store
from specctl.errors import ParameterError
from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus
from tests.convert.commands import assert_nothing_beside, invoke
from tests.convert.test_repair import contents, flip, flip_all

HERE = Options(workers=0)
SETTINGS = {"n_fft": 512, "n_mels": 20, "segment": 0.3}


@pytest.fixture
def folder(tmp_path):
    return corpus(tmp_path / "in", 4)


@pytest.fixture
def store(folder, tmp_path, monkeypatch):
    """Segments, some of them in a chunk of their own."""
    monkeypatch.setattr("specctl.store.layout._MAX_CHUNK_BYTES", 4096)
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "o.h5"
    convert_audio(folder, path, options=HERE, **SETTINGS)
    return path


def damaged_in(store):
    """Keys of the items that are damaged, and of their sources."""
    keys = sorted({problem.key for problem in verify_store(store)} - {""})
    return keys, sorted({key.partition("#")[0] for key in keys})


def test_items_without_a_source_leave_and_come_back_with_it(folder, store, tmp_path):
    before = contents(store)
    flip_all(store)
    keys, (gone, *others) = damaged_in(store)
    assert others
    shutil.move(folder / gone, tmp_path / "away")
    lost = [key for key in keys if key.startswith(f"{gone}#")]
    repair = repair_store(store, folder, forget=True, options=HERE)
    assert (list(repair.forgotten), repair.problems) == (lost, ())
    items, errors, *_ = contents(store)
    assert items == {key: item for key, item in before[0].items() if key not in lost}
    n_lost = f"{len(lost)} item" + "s" * (len(lost) > 1)
    assert errors == [(gone, f"{n_lost} forgotten, damaged in the store")]
    assert verify_store(store) == []
    assert_nothing_beside(store)

    updating = Options(workers=0, update=True)
    assert convert_audio(folder, store, options=updating, **SETTINGS).status == "complete"
    shutil.move(tmp_path / "away", folder / gone)
    summary = convert_audio(folder, store, options=updating, **SETTINGS)
    assert (summary.n_converted, summary.n_unchanged) == (1, 3)
    assert contents(store)[:2] == before[:2]


def test_of_a_source_only_what_is_damaged_leaves(folder, store):
    before, *_ = contents(store)
    flip(store)
    keys, (source, *_) = damaged_in(store)
    with open_store(store) as opened:
        spared = {each.key for each in opened.records if each.source == source} - set(keys)
    assert spared
    shutil.rmtree(folder)
    assert list(repair_store(store, forget=True, options=HERE).forgotten) == keys
    assert contents(store)[0] == {key: item for key, item in before.items() if key not in keys}
    assert verify_store(store) == []


def test_a_store_may_be_left_with_nothing(store):
    flip_all(store)
    keys, sources = damaged_in(store)
    with open_store(store) as opened:
        n_items = len(opened)
    repair = repair_store(store, forget=True, options=HERE)
    assert (len(repair.forgotten), repair.problems) == (len(keys), ())
    with open_store(store) as opened:
        assert len(opened) == n_items - len(keys)
        assert sorted(key for key, _ in opened.errors) == sources


def test_what_can_be_made_again_is_not_forgotten(folder, store):
    before = contents(store)
    flip_all(store)
    keys, _ = damaged_in(store)
    repair = repair_store(store, folder, forget=True, options=HERE)
    assert (repair.forgotten, repair.problems) == ((), ())
    assert set(keys) <= set(repair.repaired)
    assert contents(store) == before


@pytest.mark.parametrize("again", [True, False])
def test_a_repair_that_was_killed_can_be_given_again_with_another_flag(
    folder, store, monkeypatch, again
):
    flip_all(store)
    keys, (gone, *_) = damaged_in(store)
    (folder / gone).unlink()
    publish = merging.publish
    monkeypatch.setattr(merging, "publish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        repair_store(store, folder, forget=not again, options=HERE)
    monkeypatch.setattr(merging, "publish", publish)
    repair = repair_store(store, folder, forget=again, options=HERE)
    left = [key for key in keys if key.startswith(f"{gone}#")]
    assert list(repair.forgotten) == (left if again else [])
    assert damaged_in(store)[0] == ([] if again else left)
    assert_nothing_beside(store)


def test_without_sources_nothing_is_forgotten_unasked(store):
    flip(store)
    with pytest.raises(ParameterError, match="sources must name at least one"):
        repair_store(store, options=HERE)


def test_the_command_names_the_flag_where_it_helps(folder, tmp_path):
    store = tmp_path / "o.h5"
    convert_audio(folder, store, options=HERE, **SETTINGS)
    flip_all(store)
    keys, (first, *others) = damaged_in(store)
    for source in others:
        (folder / source).unlink()
    done = invoke(store, folder, "--repair", command="verify")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("; --forget takes out what cannot be made again\n")
    (folder / first).rename(folder / "again.wav")
    done = invoke(store, folder, "--repair", command="verify")
    assert done.returncode == 1
    assert done.stderr.endswith(" is missing; --forget takes such items out\n")
    keys, _ = damaged_in(store)
    done = invoke(store, "--forget", "--json", command="verify")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["forgotten"]) == (0, True, keys), done.stderr
    assert invoke(store, "--forget", command="verify").stdout.endswith("all good\n")
