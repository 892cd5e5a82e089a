"""``--update``: new, changed and once failed files are made, the rest is left as it is."""

import os
import re
import shutil

import h5py
import numpy as np
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Control, Options, Stopped
from specctl.errors import AudioError, StoreError
from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import (
    PartsSeen,
    assert_nothing_beside,
    invoke,
    parts_of,
    started,
    wait_for,
)
from tests.store.stores import write_config

UPDATE = Options(workers=0, update=True)
SETTINGS = {"n_fft": 512, "n_mels": 20}
FLAGS = ("--n-fft", 512, "--n-mels", 20)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)


@pytest.fixture
def folder(tmp_path):
    folder = corpus(tmp_path / "in", 6)
    (folder / "x" / "bad.wav").write_bytes(b"RIFF")
    (folder / "z" / "worse.wav").write_bytes(b"")
    return folder


@pytest.fixture
def store(folder, tmp_path):
    (tmp_path / "out").mkdir()
    convert_audio(folder, tmp_path / "out" / "o.h5", options=Options(workers=0), **SETTINGS)
    return tmp_path / "out" / "o.h5"


def arrays(store):
    with open_store(store) as opened:
        return {key: opened[key] for key in opened}


def change(folder):
    """A new file, a changed one, a repaired one."""
    write_noise(folder / "y" / "new.wav", 1.5, seed=50)
    write_noise(folder / "x" / "000.wav", 2.5, seed=51)
    write_noise(folder / "x" / "bad.wav", 1.1, seed=52)


def assert_is_updated(store, folder, tmp_path):
    """What a conversion of everything gives, in another order."""
    convert_audio(folder, tmp_path / "fresh.h5", options=Options(workers=0), **SETTINGS)
    updated, fresh = arrays(store), arrays(tmp_path / "fresh.h5")
    assert set(updated) == set(fresh)
    for key, values in fresh.items():
        assert updated[key].tobytes() == values.tobytes()
    with open_store(store) as left, open_store(tmp_path / "fresh.h5") as right:
        assert left.errors == right.errors
        assert {r.key: r for r in left.records} == {r.key: r for r in right.records}
        np.testing.assert_allclose(left.mean, right.mean, rtol=1e-12)
        np.testing.assert_allclose(left.std, right.std, rtol=1e-12)
    assert verify_store(store) == []


def test_adds_new_changed_and_repaired_files(folder, store, tmp_path):
    change(folder)
    summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert summary.status == "updated"
    assert (summary.n_converted, summary.n_failed, summary.n_unchanged) == (3, 1, 5)
    assert summary.n_found == 9
    assert summary.failures == (("z/worse.wav", "empty file"),)
    with open_store(store) as opened:
        # what was there first, in its order; then what was made
        assert list(opened) == [
            "x/003.flac",
            "y/001.flac",
            "y/004.wav",
            "z/002.wav",
            "z/005.flac",
            "x/000.wav",
            "x/bad.wav",
            "y/new.wav",
        ]
    assert_is_updated(store, folder, tmp_path)
    assert_nothing_beside(store)


def test_nothing_new_touches_nothing(folder, store):
    (folder / "x" / "bad.wav").unlink()
    (folder / "z" / "worse.wav").unlink()
    before = store.stat()
    done = invoke(folder, store, *FLAGS, "--update")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"{store} is complete: 6 items, nothing to do",
        "6 files unchanged",
    ]
    after = store.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert_nothing_beside(store)


def test_files_that_fail_as_before_leave_the_store_alone(folder, store):
    before = store.stat()
    done = invoke(folder, store, *FLAGS, "--update")
    assert done.returncode == 3
    *failed, complete, counts = done.stderr.splitlines()
    assert [line.split(": ")[:2] for line in failed] == [
        ["failed", "x/bad.wav"],
        ["failed", "z/worse.wav"],
    ]
    assert complete == f"{store} is complete: 6 items, nothing to do"
    assert counts == "8 files found: 2 failed as before, 6 unchanged"
    after = store.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert_nothing_beside(store)


@pytest.mark.parametrize("change", ["time", "reason", "another"])
def test_files_that_fail_otherwise_are_noted(folder, store, tmp_path, change):
    bad = folder / "x" / "bad.wav"
    if change == "time":
        os.utime(bad, ns=(1, 1))
    if change == "reason":
        times = bad.stat()
        bad.write_bytes(b"OggS")
        os.utime(bad, ns=(times.st_atime_ns, times.st_mtime_ns))
    if change == "another":
        shutil.copy(bad, folder / "y" / "bad.wav")
    summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert (summary.status, summary.n_converted, summary.n_unchanged) == ("updated", 0, 6)
    assert_is_updated(store, folder, tmp_path)
    with open_store(store) as opened:
        assert ("x/bad.wav", bad.stat().st_mtime_ns) in {
            (failure.key, failure.mtime_ns) for failure in opened.failures
        }


def test_a_file_that_is_bad_now_leaves_the_store(folder, store, tmp_path):
    (folder / "y" / "001.flac").write_bytes(b"fLaC")
    summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert (summary.n_converted, summary.n_failed) == (0, 3)
    assert_is_updated(store, folder, tmp_path)


def test_a_file_that_is_gone_stays_in_the_store(folder, store):
    before = arrays(store)
    (folder / "y" / "001.flac").unlink()
    write_noise(folder / "y" / "new.wav")
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    after = arrays(store)
    assert set(after) == {*before, "y/new.wav"}
    assert after["y/001.flac"].tobytes() == before["y/001.flac"].tobytes()


def test_a_touched_file_is_made_again_with_the_same_values(folder, store):
    before = arrays(store)
    os.utime(folder / "y" / "001.flac", ns=(1, 1))
    summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert summary.n_converted == 1
    assert arrays(store)["y/001.flac"].tobytes() == before["y/001.flac"].tobytes()


def test_segments_of_a_changed_file_are_all_replaced(tmp_path):
    folder, store = corpus(tmp_path / "in", 3, seconds=3), tmp_path / "o.h5"
    settings = {**SETTINGS, "segment": 1.0}
    convert_audio(folder, store, options=Options(workers=0), **settings)
    write_noise(folder / "x" / "000.wav", 1.5, seed=9)
    convert_audio(folder, store, options=UPDATE, **settings)
    keys = [key for key in arrays(store) if key.startswith("x/000")]
    assert keys == ["x/000.wav#s00000", "x/000.wav#s00001"]
    assert verify_store(store) == []


def test_other_files_of_the_same_names_are_refused(folder, store, tmp_path):
    before = store.read_bytes()
    write_noise(tmp_path / "more" / "x" / "000.wav", 1.0, seed=60)
    write_noise(tmp_path / "more" / "x" / "900.wav", 1.0, seed=61)
    with pytest.raises(StoreError, match=r"has other files of the same names, such as x/000\.wav"):
        convert_audio(tmp_path / "more", store, options=UPDATE, **SETTINGS)
    # another session that begins with the same click
    shutil.copyfile(folder / "x" / "000.wav", tmp_path / "more" / "x" / "000.wav")
    write_noise(tmp_path / "more" / "y" / "001.flac", 1.0, seed=62)
    with pytest.raises(StoreError, match=r"has other files of the same names, such as x/000\.wav"):
        convert_audio(tmp_path / "more", store, options=UPDATE, **SETTINGS)
    (tmp_path / "more" / "y" / "001.flac").unlink()
    # as long as what is there, with other samples
    write_noise(tmp_path / "more" / "x" / "000.wav", 1.0, seed=60)
    os.truncate(tmp_path / "more" / "x" / "000.wav", (folder / "x" / "000.wav").stat().st_size)
    with pytest.raises(StoreError, match=r"has other files of the same names, such as x/000\.wav"):
        convert_audio(tmp_path / "more", store, options=UPDATE, **SETTINGS)
    assert store.read_bytes() == before
    assert_nothing_beside(store)


@pytest.mark.parametrize(
    ("within", "of", "key", "here"),
    [
        ("x", [], r"000\.wav", r"x/000\.wav"),
        (".", ["more"], r"in/x/000\.wav", r"x/000\.wav"),
    ],
    ids=["a-folder-of-it", "beside-another"],
)
def test_the_same_files_under_other_names_are_refused(
    folder, store, tmp_path, within, of, key, here
):
    before = store.read_bytes()
    write_noise(tmp_path / "more" / "y.wav", 1.0, seed=60)
    sources = [folder / within, *(tmp_path / name for name in of)]
    with pytest.raises(StoreError, match=f"has {key} already, as {here}; update it with the fold"):
        convert_audio(sources, store, options=UPDATE, **SETTINGS)
    assert store.read_bytes() == before


def test_another_folder_is_added(folder, store, tmp_path):
    before = arrays(store)
    write_noise(tmp_path / "more" / "x" / "900.wav", 1.0, seed=61)
    # it failed before: this may be what it should have been
    write_noise(tmp_path / "more" / "x" / "bad.wav", 1.0, seed=62)
    summary = convert_audio(tmp_path / "more", store, options=UPDATE, **SETTINGS)
    assert (summary.n_converted, summary.n_items) == (2, len(before) + 2)
    assert set(arrays(store)) == {*before, "x/900.wav", "x/bad.wav"}


def test_a_folder_that_has_moved_is_the_same(folder, store, tmp_path):
    moved = folder.rename(tmp_path / "moved")
    change(moved)
    summary = convert_audio(moved, store, options=UPDATE, **SETTINGS)
    assert (summary.n_converted, summary.n_unchanged, summary.n_failed) == (3, 5, 1)


def test_a_copy_of_the_folder_is_the_same_though_its_files_are_dated_anew(folder, store, tmp_path):
    before = arrays(store)
    copy = shutil.copytree(folder, tmp_path / "copy")
    for path in copy.rglob("*.*"):
        os.utime(path, ns=(10**18, 10**18))
    write_noise(copy / "y" / "new.wav", 1.5, seed=50)
    summary = convert_audio(copy, store, options=UPDATE, **SETTINGS)
    assert (summary.n_converted, summary.n_unchanged, summary.n_failed) == (len(before) + 1, 0, 2)
    after = arrays(store)
    assert {key: after[key].tobytes() for key in before} == {
        key: values.tobytes() for key, values in before.items()
    }


def test_the_stores_own_rate_is_kept(folder, store):
    for number in range(20):
        write_noise(folder / "new" / f"{number}.wav", 0.2, rate=8000)
    summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert (summary.sample_rate, summary.n_resampled) == (16000, 20)


def test_other_settings_are_refused(folder, store):
    change(folder)
    with pytest.raises(StoreError, match="n_mels 20 there, 30 here"):
        convert_audio(folder, store, options=UPDATE, n_fft=512, n_mels=30)
    assert len(arrays(store)) == 6
    assert_nothing_beside(store)


def test_other_settings_are_refused_though_nothing_is_new(folder, store):
    (folder / "x" / "bad.wav").unlink()
    (folder / "z" / "worse.wav").unlink()
    with pytest.raises(StoreError, match="n_mels 20 there, 30 here"):
        convert_audio(folder, store, options=UPDATE, n_fft=512, n_mels=30)


def test_without_a_store_an_update_makes_one_and_can_be_finished(folder, tmp_path):
    store = tmp_path / "new.h5"
    control = Control()

    def look(progress):
        if progress.stage == "converting" and progress.n_done >= 3:
            control.stop()

    with pytest.raises(Stopped):
        convert_audio(folder, store, options=UPDATE, control=control, progress=look, **SETTINGS)
    summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert (summary.n_resumed, summary.n_converted) == (3, 6)


def test_a_killed_update_leaves_the_old_store_and_is_finished(folder, store, tmp_path):
    change(folder)
    for number in range(20):
        write_noise(folder / "y" / f"more{number}.wav", 4, seed=number)
    before = store.read_bytes()
    flags = (*FLAGS, "--update", "--workers", 2)
    with started(folder, store, *flags) as process:
        wait_for(lambda: len(parts_of(store)) > 3, "some parts", process)
    assert store.read_bytes() == before
    parts = parts_of(store)
    refused = invoke(folder, store, *FLAGS)
    assert refused.returncode == 1
    assert "--update there" in refused.stderr
    kept = tmp_path / "kept"
    shutil.copytree(store.parent / "o.h5.parts", kept)
    seen = PartsSeen(store)
    done = convert_audio(folder, store, options=UPDATE, progress=seen, **SETTINGS)
    assert done.n_resumed == len(parts)
    assert {name: seen.parts[name] for name in parts} == parts
    assert_is_updated(store, folder, tmp_path)
    assert_nothing_beside(store)
    # killed after the store had its name and before the rest was tidied up
    shutil.copytree(kept, store.parent / "o.h5.parts")
    updated = store.stat()
    (folder / "z" / "worse.wav").unlink()
    again = invoke(folder, store, *flags)
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stderr
    assert store.stat().st_mtime_ns == updated.st_mtime_ns
    assert_nothing_beside(store)


def test_files_that_failed_before_are_no_failures_in_a_row(folder, store):
    for name in ("a.wav", "b.wav", "c.wav"):
        (folder / "z" / name).write_bytes(b"")
    few = Options(workers=0, update=True, max_failures=4)
    assert convert_audio(folder, store, options=few, **SETTINGS).n_failed == 5
    write_noise(folder / "z" / "new.wav")
    summary = convert_audio(folder, store, options=few, **SETTINGS)
    assert (summary.n_converted, summary.n_failed) == (1, 5)
    for name in ("a.wav", "b.wav", "c.wav", "worse.wav"):
        (folder / "z" / name).write_bytes(b"RIFF")
    with pytest.raises(AudioError, match="4 files in a row failed, the last one z/worse.wav"):
        convert_audio(folder, store, options=few, **SETTINGS)


def test_a_folder_that_cannot_be_read_is_a_failure_until_it_can(folder, tmp_path, monkeypatch):
    store = tmp_path / "new.h5"
    write_noise(folder / "locked" / "deep" / "a.wav")
    # one without any audio
    (folder / "y" / "locked").mkdir()
    scandir = os.scandir

    def refusing_scandir(path):
        if os.fsdecode(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refusing_scandir)
        summary = convert_audio(folder, store, options=Options(workers=0), **SETTINGS)
        assert "locked" in dict(summary.failures)
    for is_known in (False, True):
        if is_known:
            with monkeypatch.context() as patched:
                patched.setattr(os, "scandir", refusing_scandir)
                convert_audio(folder, store, options=UPDATE, **SETTINGS)
        convert_audio(folder, store, options=UPDATE, **SETTINGS)
        with open_store(store) as made:
            assert "locked/deep/a.wav" in made
            assert not {"locked", "y/locked"} & set(dict(made.errors))


def test_a_store_that_does_not_say_its_kernel_is_updated_with_any(folder, store, tmp_path):
    for kernel in ("conv", "auto"):
        with h5py.File(store, "r+") as file:
            del file.attrs["kernel"]
        write_noise(folder / "y" / f"{kernel}.wav", seed=60)
        options = Options(workers=0, update=True, kernel=kernel)
        assert convert_audio(folder, store, options=options, **SETTINGS).n_converted == 1
        again = Options(workers=0, update=True, kernel="conv" if kernel == "conv" else "fft")
        with open_store(store) as made:
            assert made.attributes["kernel"] == again.kernel
        assert convert_audio(folder, store, options=again, **SETTINGS).status == "complete"
    other = Options(workers=0, update=True, kernel="conv")
    with pytest.raises(StoreError, match="kernel fft there, conv here"):
        convert_audio(folder, store, options=other, **SETTINGS)
    write_noise(folder / "y" / "more.wav", seed=61)
    with pytest.raises(StoreError, match="kernel fft there, conv here"):
        convert_audio(folder, store, options=other, **SETTINGS)


@pytest.mark.parametrize("rate", ['"forty"', "-1", "1e400", "null", "true", "1" + 400 * "0"])
def test_a_rate_that_is_none_is_named(folder, store, rate):
    change(folder)
    with h5py.File(store) as file:
        config = file.attrs["config"].decode()
    changed = re.sub(r'"sample_rate": ?\d+', f'"sample_rate":{rate}', config)
    assert changed != config
    write_config(store, changed)
    with pytest.raises(StoreError, match="made with other settings: .*sample_rate"):
        convert_audio(folder, store, options=UPDATE, **SETTINGS)
