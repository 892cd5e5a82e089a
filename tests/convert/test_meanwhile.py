"""What changes while a store is made, or between its beginning and its end."""

import shutil
from dataclasses import replace

import h5py
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options
from specctl.errors import StoreError
from specctl.store.verify import verify_store
from tests.convert.audio_files import write_noise
from tests.convert.commands import assert_nothing_beside, invoke
from tests.convert.unfinished import stop_after_parts

HERE = Options(workers=0)
UPDATE = replace(HERE, update=True)
SETTINGS = {"n_fft": 512, "n_mels": 20}


pytestmark = pytest.mark.usefixtures("small_parts")


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


def test_files_that_came_after_it_was_begun_are_told_of(folder, store):
    (folder / "x" / "bad.wav").write_bytes(b"RIFF")
    (folder / "x" / "fifo.wav").symlink_to("/dev/null")
    stop_after_parts(folder, store, 2, HERE, **SETTINGS)
    for number in range(2):
        write_noise(folder / "late" / f"{number}.wav", seed=number)
    done = convert_audio(folder, store, options=HERE, **SETTINGS)
    assert (done.n_since, done.n_converted) == (2, 9)
    for number in range(3):
        write_noise(folder / "later" / f"{number}.wav", seed=number)
    stop_after_parts(folder, store, 2, UPDATE, **SETTINGS)
    write_noise(folder / "latest.wav")
    flags = ("--n-fft", 512, "--n-mels", 20, "--update", "--workers", 0)
    said = invoke(folder, store, *flags).stderr
    assert "1 file came after it was begun: --update adds it" in said.splitlines()
    assert convert_audio(folder, store, options=UPDATE, **SETTINGS).n_since == 0
    # nor has a folder that is gone anything to say where all parts are done
    assert len(open_store(store)) == 15


def test_an_update_that_cannot_be_repeated_is_given_up_without_the_store(folder, store):
    convert_audio(folder, store, options=HERE, **SETTINGS)
    for number in range(3):
        write_noise(folder / "late" / f"{number}.wav", seed=number)
    stop_after_parts(folder, store, 1, UPDATE, **SETTINGS)
    work = store.parent / "o.h5.parts"
    with pytest.raises(StoreError) as caught:
        convert_audio(folder, store, options=replace(UPDATE, labels="folder"), **SETTINGS)
    assert str(caught.value) == (
        f"{work} holds an unfinished update with other settings: the same files without "
        f"--labels; repeat its command to finish it, or remove {work} to give it up: "
        f"{store} stays as it is"
    )
    shutil.rmtree(work)
    done = convert_audio(folder, store, options=replace(UPDATE, labels="folder"), **SETTINGS)
    assert (done.n_unchanged, done.n_converted, done.n_relabelled) == (9, 3, 9)


@pytest.mark.parametrize("is_due", [True, False])
def test_what_failed_and_is_gone_is_failed_no_more(folder, store, is_due):
    for name in ("x/bad.wav", "x/worse.wav", "x/left.wav", "bad.wav"):
        (folder / name).write_bytes(b"RIFF")
    convert_audio(folder, store, options=HERE, **SETTINGS)
    for name in ("x/bad.wav", "bad.wav"):
        (folder / name).unlink()
    (folder / "x" / "worse.wav").rename(folder / "x" / "better.wav")
    (folder / "x" / "better.wav").write_bytes(b"RIFX")
    if is_due:
        write_noise(folder / "new.wav")
    # what patterns leave out is there
    with_pattern = replace(UPDATE, include=("new.wav",) if is_due else ("*",))
    convert_audio(folder, store, options=with_pattern, **SETTINGS)
    failed = {"x/left.wav"} if is_due else {"x/left.wav", "x/better.wav"}
    assert set(dict(open_store(store).errors)) == failed
    (folder / "x" / "left.wav").unlink()
    write_noise(folder / "newer.wav")
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    with open_store(store) as opened:
        assert list(dict(opened.errors)) == ["x/better.wav"]
    assert verify_store(store) == []
