"""Stores that another program has written anew: `h5repack -f NONE`, say, or HDF5's own filters."""

import h5py
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options, parts
from specctl.convert.repair import repair_store
from specctl.errors import StoreError
from specctl.store.verify import verify_store
from tests.convert.audio_files import write_noise
from tests.convert.commands import assert_nothing_beside
from tests.convert.test_repair import HERE, SETTINGS, contents, converted, folder
from tests.store.hostile import replace_dataset

__all__ = ["folder"]

UPDATE = Options(workers=0, labels="folder", update=True)


def rewrite(path, compression):
    """Write the chunks anew, as HDF5 makes them."""
    with h5py.File(path) as file:
        rows, chunks = file["spectrogram"][...], file["spectrogram"].chunks
    filters = {"shuffle": True, "compression": "gzip"} if compression == "gzip" else {}
    replace_dataset(path, "spectrogram", data=rows, chunks=chunks, **filters)


def set_value(path, key):
    """Have an item hold another value, which its digest tells."""
    with h5py.File(path, "r+") as file:
        row = list(file["index/key"].asstr()).index(key)
        file["spectrogram"][file["index/start"][row] + 2, 3] += 1


@pytest.fixture(params=[(made, now) for made in ("gzip", "none") for now in ("gzip", "none")])
def rewritten(request, folder, tmp_path):
    """A store that was made with one compression and has another one now."""
    made, now = request.param
    store = converted(folder, tmp_path / "out" / "o.h5", compression=made)
    before = contents(store)
    rewrite(store, now)
    return store, before


def test_it_is_made_good_without_a_source(folder, rewritten):
    store, before = rewritten
    assert contents(store) == before
    assert verify_store(store)
    for key in before[0]:
        write_noise(folder / key, seed=77)
    repair = repair_store(store, folder, options=HERE)
    assert (repair.repaired, repair.problems) == ((), ())
    assert contents(store) == before
    assert verify_store(store) == []
    assert_nothing_beside(store)


def test_what_is_damaged_in_it_is_made_again(folder, rewritten):
    store, before = rewritten
    (key, *_) = before[0]
    set_value(store, key)
    repair = repair_store(store, folder, options=HERE)
    assert (repair.repaired, repair.differing, repair.problems) == ((key,), (), ())
    assert contents(store) == before
    assert verify_store(store) == []


def test_what_is_damaged_in_it_without_a_source_stays_known(folder, rewritten):
    store, before = rewritten
    first, second, *others = before[0]
    set_value(store, first)
    set_value(store, second)
    write_noise(folder / first, seed=77)
    repair = repair_store(store, folder, options=HERE)
    assert repair.repaired == (second,)
    problems = {problem.key: problem.message for problem in repair.problems}
    assert f"{first} has changed" in problems[first]
    with open_store(store) as opened:
        assert {opened[key].tobytes() for key in (second, *others)} == {
            before[0][key][0] for key in (second, *others)
        }
        with pytest.raises(StoreError, match="damaged: chunk"):
            opened.read(first)


@pytest.mark.parametrize("made, now", [("gzip", "none"), ("none", "gzip")])
def test_an_update_refuses_it_before_there_is_work_to_lose(
    folder, tmp_path, monkeypatch, made, now
):
    store = converted(folder, tmp_path / "out" / "o.h5", compression=made)
    before = contents(store)[0]
    rewrite(store, now)
    rewritten = store.read_bytes()
    write_noise(folder / "new.wav", seed=5)
    settings = {**SETTINGS, "compression": made}
    with monkeypatch.context() as patch:
        patch.setattr(parts.PartsRun, "run", None)
        with pytest.raises(StoreError, match=r"another layout: .*; specctl verify --repair "):
            convert_audio(folder, store, options=UPDATE, **settings)
    assert store.read_bytes() == rewritten
    assert_nothing_beside(store)
    repair_store(store, folder, options=HERE)
    convert_audio(folder, store, options=UPDATE, **settings)
    after = contents(store)[0]
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 1
    assert verify_store(store) == []
