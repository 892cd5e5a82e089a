"""What a store has of files that cannot be read now stays: they may be what they were."""

import errno
import os
import shutil

import pytest

from specctl import convert_audio, open_store
from specctl.audio.decode import AudioReader
from specctl.audio.source import SourceFile
from specctl.convert import Options
from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import run
from tests.convert.stub_decoder import StubDecoder
from tests.convert.test_update import SETTINGS, UPDATE, arrays, assert_is_updated


@pytest.fixture
def folder(tmp_path):
    return corpus(tmp_path / "in", 6)


@pytest.fixture
def store(folder, tmp_path):
    (tmp_path / "out").mkdir()
    convert_audio(folder, tmp_path / "out" / "o.h5", options=Options(workers=0), **SETTINGS)
    return tmp_path / "out" / "o.h5"


def test_what_a_store_has_of_a_file_that_cannot_be_looked_at_stays(
    folder, store, tmp_path, monkeypatch
):
    kept = folder / "z" / "other.wav"
    (tmp_path / "disk").mkdir()
    shutil.copy(folder / "x" / "000.wav", tmp_path / "disk" / "a.wav")
    kept.symlink_to(tmp_path / "disk" / "a.wav")
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    before = arrays(store)
    stat = os.stat

    def failing_stat(path, *args, **kwargs):
        if os.fspath(path) == os.fsencode(kept):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return stat(path, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", failing_stat)
        # also if it can be looked at again right after, and where it had failed so before
        for _ in range(2):
            summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
            assert dict(summary.failures)["z/other.wav"] == "stale file handle"
            now = arrays(store)
            assert set(now) == set(before)
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert_is_updated(store, folder, tmp_path)


@pytest.mark.parametrize("how", ["gone", "refused"])
def test_what_a_store_has_of_a_file_that_cannot_be_opened_stays(folder, store, monkeypatch, how):
    """A disk that went away meanwhile must not take what was made of its files along."""
    before = arrays(store)
    lost = folder / "y" / "001.flac"
    os.utime(lost, ns=(1, 1))
    write_noise(folder / "y" / "new.wav", seed=50)
    away = folder.parent / "away.flac"
    opened = os.open

    def refusing(path, *args, **kwargs):
        if os.fspath(path) == os.fspath(lost):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *args, **kwargs)

    def look(progress):
        if progress.stage == "reading headers" and lost.exists():
            lost.rename(away)

    for number in range(2):
        with monkeypatch.context() as patched:
            if how == "refused":
                patched.setattr(os, "open", refusing)
            summary = convert_audio(
                folder, store, options=UPDATE, progress=look if how == "gone" else None, **SETTINGS
            )
        reason = {"gone": "no such file", "refused": "permission denied"}[how]
        if how == "refused" or number == 0:
            assert dict(summary.failures)["y/001.flac"] == reason
        assert summary.n_converted == (number == 0)
        now = arrays(store)
        assert set(now) == {*before, "y/new.wav"}
        assert now["y/001.flac"].tobytes() == before["y/001.flac"].tobytes()
        assert verify_store(store) == []
    if how == "gone":
        away.rename(lost)
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    with open_store(store) as made:
        assert made.record("y/001.flac").mtime_ns == 1
        assert "y/001.flac" not in dict(made.errors)


def test_what_a_store_has_of_a_file_that_is_being_written_stays(
    folder, store, tmp_path, monkeypatch
):
    before = arrays(store)
    growing = write_noise(folder / "x" / "000.wav", 1.5, seed=81)
    has_changed = SourceFile.has_changed

    def changes(source):
        return source.path == str(growing) or has_changed(source)

    with monkeypatch.context() as patched:
        patched.setattr(SourceFile, "has_changed", changes)
        summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert summary.failures == (("x/000.wav", "changed while it was read"),)
    now = arrays(store)
    assert set(now) == set(before)
    assert now["x/000.wav"].tobytes() == before["x/000.wav"].tobytes()
    assert convert_audio(folder, store, options=UPDATE, **SETTINGS).n_converted == 1
    assert_is_updated(store, folder, tmp_path)


def test_what_a_store_has_of_a_file_that_hung_stays(folder, store, tmp_path):
    """It may have been the disk."""
    stub = StubDecoder(tmp_path / "stub")
    # goes by what is in it as long as that is known
    hung = write_noise(folder / "x" / "a.wav", seed=80).rename(folder / "x" / "a.m4a")
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    before, good = arrays(store), hung.read_bytes()
    stub.write(hung, "hang", 1)
    flags = ("--n-fft", 512, "--n-mels", 20, "--timeout", 1, "--workers", 1, "--update")
    done = run(folder, store, *flags, env=stub.environment)
    assert done.returncode == 3, done.stderr
    assert "failed: x/a.m4a: no progress for too long" in done.stderr.splitlines()
    now = arrays(store)
    assert set(now) == set(before)
    assert now["x/a.m4a"].tobytes() == before["x/a.m4a"].tobytes()
    assert verify_store(store) == []
    hung.write_bytes(good)
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert_is_updated(store, folder, tmp_path)


@pytest.mark.parametrize("where", ["opening", "decoding"])
def test_what_a_store_has_of_a_file_for_which_memory_was_short_stays(
    folder, store, tmp_path, monkeypatch, where
):
    before = arrays(store)
    large = write_noise(folder / "x" / "000.wav", 1.5, seed=82)

    def failing(call, path_of):
        def fails(self, *args, **kwargs):
            if path_of(self) == str(large):
                raise MemoryError
            return call(self, *args, **kwargs)

        return fails

    with monkeypatch.context() as patched:
        if where == "opening":
            call = failing(SourceFile.read_at, lambda source: source.path)
            patched.setattr(SourceFile, "read_at", call)
        else:
            call = failing(AudioReader.blocks, lambda reader: reader._source.path)
            patched.setattr(AudioReader, "blocks", call)
        summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert summary.failures == (("x/000.wav", "not enough memory"),)
    now = arrays(store)
    assert set(now) == set(before)
    assert now["x/000.wav"].tobytes() == before["x/000.wav"].tobytes()
    assert convert_audio(folder, store, options=UPDATE, **SETTINGS).n_converted == 1
    assert_is_updated(store, folder, tmp_path)


@pytest.mark.parametrize("call", ["open", "stat"])
def test_what_stays_of_a_file_that_cannot_be_read_takes_the_labels_that_are_given(
    folder, store, tmp_path, monkeypatch, call
):
    """Or classes of before would stand among those of now."""
    lost = folder / "x" / "000.wav"
    lost.rename(tmp_path / "far.wav")
    lost.symlink_to(tmp_path / "far.wav")
    os.utime(lost, ns=(1, 1))
    called = getattr(os, call)

    def refusing(path, *args, **kwargs):
        if os.fsdecode(path) == str(lost):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return called(path, *args, **kwargs)

    def labels():
        assert verify_store(store) == []
        with open_store(store) as made:
            return {record.source: record.label for record in made.records}

    keys = labels()
    table = tmp_path / "labels.csv"
    with monkeypatch.context() as patched:
        patched.setattr(os, call, refusing)
        # the second time it fails as before
        for label in ("noise", "hiss"):
            table.write_text("path,label\n" + "".join(f"{key},{label}\n" for key in keys))
            options = Options(workers=0, update=True, labels=table)
            summary = convert_audio(folder, store, options=options, **SETTINGS)
            assert summary.failures == (("x/000.wav", "stale file handle"),)
            assert labels() == dict.fromkeys(keys, label)
        # without labels, those that it has
        convert_audio(folder, store, options=UPDATE, **SETTINGS)
        assert labels() == dict.fromkeys(keys, "hiss")
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert labels() == dict.fromkeys(keys, "hiss")
