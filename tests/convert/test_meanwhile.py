"""What comes to the name of a store while it is made: nothing that was not to be replaced is."""

import shutil
from dataclasses import replace

import h5py
import pytest

from specctl import convert_audio
from specctl.convert import Options
from specctl.errors import StoreError
from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import assert_nothing_beside

HERE = Options(workers=0)
UPDATE = replace(HERE, update=True)
SETTINGS = {"n_fft": 512, "n_mels": 20}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)


@pytest.fixture
def folder(tmp_path):
    return corpus(tmp_path / "in", 6)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "o.h5"


def test_a_store_that_comes_from_elsewhere_meanwhile_is_kept(folder, store, tmp_path):
    other = write_noise(tmp_path / "other" / "a.wav")
    convert_audio(other, tmp_path / "other.h5", options=HERE, **SETTINGS)

    def bring(progress):
        if progress.stage == "converting" and not store.exists():
            shutil.copy(tmp_path / "other.h5", store)

    with pytest.raises(StoreError, match=r"has come from elsewhere meanwhile; pass --overwrite"):
        convert_audio(folder, store, options=HERE, progress=bring, **SETTINGS)
    assert store.read_bytes() == (tmp_path / "other.h5").read_bytes()
    with pytest.raises(StoreError, match="pass --overwrite to finish the conversion in"):
        convert_audio(folder, store, options=HERE, **SETTINGS)
    done = convert_audio(folder, store, options=replace(HERE, overwrite=True), **SETTINGS)
    assert done.n_resumed > 0
    assert_nothing_beside(store)


@pytest.mark.parametrize("kind", ["text", "HDF5"])
def test_what_comes_meanwhile_and_is_no_store_is_not_overwritten(folder, store, kind):
    convert_audio(folder / "x", store, options=HERE, **SETTINGS)

    def bring(progress):
        if progress.stage == "converting":
            store.unlink()
            if kind == "text":
                store.write_text("mine")
            else:
                with h5py.File(store, "w") as file:
                    file["mine"] = 1

    options = replace(HERE, overwrite=True)
    with pytest.raises(StoreError, match="but no store|no HDF5 file"):
        convert_audio(folder, store, options=options, progress=bring, **SETTINGS)
    assert (store.read_text() == "mine") if kind == "text" else h5py.is_hdf5(store)
    store.unlink()
    assert convert_audio(folder, store, options=options, **SETTINGS).n_resumed > 0
    assert_nothing_beside(store)


@pytest.mark.parametrize("kind", ["other", "gone"])
def test_no_other_store_than_that_of_the_plan_is_updated(folder, store, tmp_path, kind):
    x_only = Options(workers=0, include=("x/*",))
    convert_audio(folder, tmp_path / "other.h5", options=x_only, **SETTINGS)
    other = (tmp_path / "other.h5").read_bytes()
    write_noise(folder / "y" / "new.wav", 1.5, seed=50)
    convert_audio(folder, store, options=HERE, **SETTINGS)
    write_noise(folder / "x" / "newer.wav", 1.5, seed=51)

    def bring(progress):
        if progress.stage == "converting":
            store.unlink(missing_ok=True)
            if kind == "other":
                store.write_bytes(other)

    with pytest.raises(StoreError, match="is another store meanwhile, or gone; the same command"):
        convert_audio(folder, store, options=UPDATE, progress=bring, **SETTINGS)
    if kind == "other":
        assert store.read_bytes() == other
    again = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert again.n_found == again.n_converted + again.n_failed + again.n_unchanged
    assert verify_store(store) == []
    assert_nothing_beside(store)
