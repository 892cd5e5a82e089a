"""``--update --prune``: what a store has of files that are gone leaves it, and nothing else."""

import errno
import json
import os
from dataclasses import replace

import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options, estimate_conversion
from specctl.errors import ParameterError, StoreError
from specctl.store.verify import verify_store
from tests.convert.audio_files import write_noise
from tests.convert.commands import assert_nothing_beside, invoke
from tests.convert.test_update import (
    FLAGS,
    SETTINGS,
    UPDATE,
    arrays,
    assert_is_updated,
)
from tests.convert.unfinished import stop_after_parts

pytestmark = pytest.mark.usefixtures("small_parts")
PRUNE = replace(UPDATE, prune=True)


@pytest.fixture
def store(folder, store):
    convert_audio(folder, store, options=Options(workers=0), **SETTINGS)
    return store


def test_a_file_that_was_renamed_is_there_once(folder, store, tmp_path):
    (folder / "x" / "000.wav").rename(folder / "x" / "renamed.wav")
    summary = convert_audio(folder, store, options=PRUNE, **SETTINGS)
    assert (summary.n_converted, summary.n_unchanged, summary.n_gone) == (1, 8, 0)
    assert summary.pruned == ("x/000.wav",)
    assert_is_updated(store, folder, tmp_path)
    assert_nothing_beside(store)


def test_alone_it_takes_out_and_converts_nothing(folder, store, tmp_path):
    for path in (folder / "y").iterdir():
        path.unlink()
    (folder / "y").rmdir()
    done = invoke(folder, store, *FLAGS, "--update", "--prune", "-v", "--workers", 0)
    assert done.returncode == 0
    assert done.stderr.splitlines()[:2] == ["taken out: y/001.flac", "taken out: y/004.wav"]
    assert "3 files gone, and taken out of the store" in done.stderr.splitlines()
    assert_is_updated(store, folder, tmp_path)
    before = store.stat()
    again = invoke(folder, store, *FLAGS, "--update", "--prune", "--json", "--workers", 0)
    assert (json.loads(again.stdout)["status"], json.loads(again.stdout)["pruned"]) == (
        "complete",
        [],
    )
    assert store.stat() == before


def test_without_it_those_that_are_gone_are_counted(folder, store):
    before = arrays(store)
    (folder / "x" / "000.wav").unlink()
    said = invoke(folder, store, *FLAGS, "--update", "--workers", 0).stderr.splitlines()
    assert said == [
        f"{store} is complete: 9 items, nothing to do",
        "8 files unchanged",
        "1 file of the store is not found under SOURCE: --update --prune takes it out",
    ]
    write_noise(folder / "y" / "new.wav", seed=50)
    summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert (summary.n_converted, summary.n_gone, summary.pruned) == (1, 1, ())
    assert arrays(store)["x/000.wav"].tobytes() == before["x/000.wav"].tobytes()


def test_a_dry_run_says_how_many(folder, store):
    (folder / "x" / "000.wav").unlink()
    before = store.read_bytes()
    told = estimate_conversion(folder, store, options=UPDATE, **SETTINGS)
    assert (told.is_nothing, told.n_gone, told.n_pruned) == (True, 1, 0)
    told = estimate_conversion(folder, store, options=PRUNE, **SETTINGS)
    assert (told.is_nothing, told.n_gone, told.n_pruned) == (False, 0, 1)
    flags = (*FLAGS, "--workers", 0, "--dry-run", "--update")
    assert invoke(folder, store, *flags).stdout.splitlines() == [
        "nothing to do, 8 unchanged",
        "1 file of the store is not found under SOURCE: --update --prune takes it out",
    ]
    said = invoke(folder, store, *flags, "--prune").stdout.splitlines()
    assert "1 file gone, to be taken out of the store" in said
    assert store.read_bytes() == before


@pytest.mark.parametrize("call", ["lstat", "stat"])
def test_what_cannot_be_looked_at_is_not_gone(folder, store, tmp_path, monkeypatch, call):
    """A file, or a whole folder, on a disk that does not answer."""
    lost = folder / "y" if call == "stat" else folder / "y" / "001.flac"
    lost.rename(tmp_path / "far")
    lost.symlink_to(tmp_path / "far")
    (folder / "x" / "000.wav").unlink()
    called = getattr(os, call)

    def failing(path, *args, **kwargs):
        if os.fsdecode(path).startswith(str(lost)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return called(path, *args, **kwargs)

    before = arrays(store)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing)
        summary = convert_audio(folder, store, options=PRUNE, **SETTINGS)
    assert summary.pruned == ("x/000.wav",)
    del before["x/000.wav"]
    assert arrays(store).keys() == before.keys()


def test_files_that_are_left_out_are_not_gone(folder, store, tmp_path):
    (folder / "x" / "000.wav").unlink()
    # nothing but a name is left of this one, as where its content was dropped by git-annex
    (folder / "y" / "004.wav").unlink()
    (folder / "y" / "004.wav").symlink_to(tmp_path / "nowhere")
    options = replace(PRUNE, include=("*.flac",))
    assert convert_audio(folder, store, options=options, **SETTINGS).pruned == ("x/000.wav",)
    paths = sorted(folder.glob("x/*"))
    assert convert_audio([folder / "z", *paths], store, options=PRUNE, **SETTINGS).pruned == ()
    assert len(arrays(store)) == 8


def test_names_that_are_not_utf8_and_those_with_codes(folder, store):
    for name in (b"\xff.wav", b"%41.wav", b"100%.wav"):
        write_noise(folder / "x" / "a.wav").rename(folder / "x" / os.fsdecode(name))
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert convert_audio(folder, store, options=UPDATE, **SETTINGS).n_gone == 0
    (folder / "x" / os.fsdecode(b"\xff.wav")).unlink()
    assert convert_audio(folder, store, options=PRUNE, **SETTINGS).pruned == ("x/%FF.wav",)


def test_segments_and_labels_of_what_is_gone_go_with_it(folder, tmp_path):
    store, settings = tmp_path / "s.h5", {**SETTINGS, "segment": 0.5}
    labelled = replace(UPDATE, labels="folder")
    convert_audio(folder, store, options=labelled, **settings)
    (folder / "x" / "000.wav").unlink()
    (folder / "x" / "003.flac").unlink()
    write_noise(folder / "z" / "new.wav")
    table = tmp_path / "labels.csv"
    table.write_text("path,label\nx/000.wav,gone\ny/001.flac,other\n")
    options = replace(PRUNE, labels=table)
    summary = convert_audio(folder, store, options=options, **settings)
    assert (len(summary.pruned), summary.n_converted, summary.n_relabelled) == (2, 1, 7)
    assert verify_store(store) == []
    with open_store(store) as made:
        labels = {record.source: record.label for record in made.records}
    assert labels == {key: "other" * (key == "y/001.flac") for key in labels}
    assert len(labels) == 8


def test_all_of_a_store_is_never_taken_out(folder, store, tmp_path):
    """These are recordings of another folder, or those of a disk that is not mounted."""
    write_noise(tmp_path / "more" / "new.wav")
    before = store.read_bytes()
    with pytest.raises(StoreError, match="has items of other files alone, --prune would take"):
        convert_audio(tmp_path / "more", store, options=PRUNE, **SETTINGS)
    assert store.read_bytes() == before
    assert convert_audio(tmp_path / "more", store, options=UPDATE, **SETTINGS).n_items == 10


def test_of_a_store_that_has_nothing_nothing_is_taken(tmp_path):
    only = write_noise(tmp_path / "in" / "a.wav")
    store = tmp_path / "o.h5"
    convert_audio(tmp_path / "in", store, options=Options(workers=0), **SETTINGS)
    only.write_bytes(b"RIFF")
    assert convert_audio(tmp_path / "in", store, options=UPDATE, **SETTINGS).n_items == 0
    only.rename(only.with_name("b.wav"))
    write_noise(tmp_path / "in" / "c.wav")
    summary = convert_audio(tmp_path / "in", store, options=PRUNE, **SETTINGS)
    assert (summary.n_items, summary.pruned) == (1, ())
    with open_store(store) as made:
        assert list(dict(made.errors)) == ["b.wav"]


def test_it_is_part_of_an_update(folder, store):
    with pytest.raises(ParameterError, match="prune must be given with update"):
        Options(prune=True)
    done = invoke(folder, store, *FLAGS, "--prune")
    assert (done.returncode, done.stderr) == (2, "specctl: prune must be given with update\n")


def test_an_update_is_gone_on_with_as_it_was_begun(folder, store, tmp_path):
    (folder / "x" / "000.wav").unlink()
    for number in range(3):
        write_noise(folder / "late" / f"{number}.wav", seed=number)
    stop_after_parts(folder, store, 1, PRUNE, **SETTINGS)
    with pytest.raises(StoreError, match="other settings: --prune there; repeat its command"):
        convert_audio(folder, store, options=UPDATE, **SETTINGS)
    # it comes again, too late
    write_noise(folder / "x" / "000.wav", seed=9)
    summary = convert_audio(folder, store, options=PRUNE, **SETTINGS)
    assert (summary.pruned, summary.n_since) == (("x/000.wav",), 1)
    assert convert_audio(folder, store, options=PRUNE, **SETTINGS).n_converted == 1
    assert_is_updated(store, folder, tmp_path)
    write_noise(folder / "late" / "3.wav", seed=3)
    write_noise(folder / "late" / "4.wav", seed=4)
    stop_after_parts(folder, store, 1, UPDATE, **SETTINGS)
    with pytest.raises(StoreError, match="other settings: --prune here; repeat its command"):
        convert_audio(folder, store, options=PRUNE, **SETTINGS)
