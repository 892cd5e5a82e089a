"""What the same command, or nearly the same, does to an unfinished and to a finished store."""

import json
import os
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options
from specctl.errors import ParameterError, StoreError
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import (
    assert_nothing_beside,
    assert_same,
    invoke,
    parts_of,
    run,
    started,
    wait_for,
)
from tests.convert.stub_decoder import StubDecoder
from tests.convert.unfinished import stop_after_parts

pytestmark = pytest.mark.usefixtures("small_parts")
HERE = Options(workers=0)
SETTINGS = {"n_fft": 512, "n_mels": 20}
FLAGS = ("--n-fft", 512, "--n-mels", 20)


def leave_unfinished(folder, store, options=HERE, n_parts=4, **settings):
    """Stop a conversion after a few parts."""
    stop_after_parts(folder, store, n_parts, options, **{**SETTINGS, **settings})
    assert len(parts_of(store)) == n_parts


def identity(path):
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, path.read_bytes()


def test_the_same_command_on_a_finished_store_touches_nothing(folder, store):
    assert invoke(folder, store, *FLAGS).returncode == 0
    before = identity(store)
    again = run(folder, store, *FLAGS)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == f"{store} is complete: 9 items, nothing to do\n"
    as_json = invoke(folder, store, *FLAGS, "--json")
    report = json.loads(as_json.stdout)
    assert (report["status"], report["n_items"]) == ("complete", 9)
    assert report["n_bytes"] == store.stat().st_size
    assert identity(store) == before
    assert_nothing_beside(store)


def test_the_same_command_says_what_failed_when_the_store_was_made(folder, store):
    (folder / "bad.wav").write_bytes(b"")
    assert invoke(folder, store, *FLAGS).returncode == 3
    again = invoke(folder, store, *FLAGS)
    assert again.returncode == 0
    assert again.stderr.splitlines() == [
        f"{store} is complete: 9 items, nothing to do",
        f"1 file failed when it was made: specctl info {store}; --update tries again",
    ]


def test_the_command_that_is_told_is_one_of_a_shell(folder, tmp_path):
    (folder / "bad.wav").write_bytes(b"")
    store = tmp_path / "my store.h5"
    assert invoke(folder, store, *FLAGS).returncode == 3
    assert f": specctl info '{store}'; " in invoke(folder, store, *FLAGS).stderr


def test_a_stopped_run_is_finished_by_the_same_call(folder, store, tmp_path):
    convert_audio(folder, tmp_path / "wanted.h5", options=HERE, **SETTINGS)
    leave_unfinished(folder, store)
    summary = convert_audio(folder, store, options=HERE, **SETTINGS)
    assert (summary.n_resumed, summary.n_converted, summary.n_found) == (4, 9, 9)
    assert_same(store, tmp_path / "wanted.h5")
    assert_nothing_beside(store)


def test_files_that_come_later_are_left_to_an_update(folder, store):
    leave_unfinished(folder, store)
    write_noise(folder / "x" / "later.wav")
    assert convert_audio(folder, store, options=HERE, **SETTINGS).n_found == 9
    summary = convert_audio(folder, store, options=Options(workers=0, update=True), **SETTINGS)
    assert (summary.n_converted, summary.n_unchanged) == (1, 9)


@pytest.mark.parametrize("is_finished", [True, False])
def test_other_settings_are_refused_with_the_difference(folder, store, is_finished):
    if is_finished:
        convert_audio(folder, store, options=HERE, **SETTINGS)
        before = identity(store)
    else:
        leave_unfinished(folder, store)
        before = parts_of(store)
    for other, difference in [
        ({"n_fft": 1024}, "n_fft 512 there, 1024 here"),
        ({"n_mels": 21}, "n_mels 20 there, 21 here"),
        ({"dtype": "float16"}, "dtype float32 there, float16 here"),
        ({"sample_rate": 8000}, "sample_rate 16000 there, 8000 here"),
        ({"segment": 1}, "segment None there, 1.0 here"),
    ]:
        with pytest.raises(StoreError, match=f"{difference}.* pass --overwrite"):
            convert_audio(folder, store, options=HERE, **{**SETTINGS, **other})
    assert (identity(store) if is_finished else parts_of(store)) == before
    # unlike the store's own
    convert_audio(folder, store, options=HERE, **SETTINGS)
    assert_nothing_beside(store)


def test_overwriting_forgets_what_was_begun_without_it(folder, store):
    leave_unfinished(folder, store)
    (folder / "x" / "000.wav").unlink()
    write_noise(folder / "x" / "later.wav")
    anew = Options(workers=0, overwrite=True)
    summary = convert_audio(folder, store, options=anew, **SETTINGS)
    assert (summary.n_resumed, summary.n_converted) == (0, 9)
    with open_store(store) as made:
        assert "x/later.wav" in made
        assert "x/000.wav" not in made
    assert_nothing_beside(store)


@pytest.mark.parametrize("n_removed", range(1, 7))
def test_a_kill_while_a_job_is_forgotten_leaves_one_that_can_go_on(
    folder, store, monkeypatch, n_removed
):
    leave_unfinished(folder, store)
    left = iter(range(n_removed))

    def killed(path, *args, **options):
        if next(left, None) is None:
            raise KeyboardInterrupt
        unlink(path, *args, **options)

    unlink = Path.unlink
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            convert_audio(folder, store, options=Options(workers=0, overwrite=True), **SETTINGS)
    assert convert_audio(folder, store, options=HERE, **SETTINGS).n_converted == 9
    assert_nothing_beside(store)


def test_other_files_are_refused(folder, store, tmp_path):
    others = corpus(tmp_path / "others", 3)
    leave_unfinished(folder, store)
    with pytest.raises(StoreError, match="unfinished conversion with other settings: other files"):
        convert_audio(others, store, options=HERE, **SETTINGS)
    convert_audio(folder, store, options=HERE, **SETTINGS)
    with pytest.raises(StoreError, match="already exists, made from other files, labels or p"):
        convert_audio(others, store, options=HERE, **SETTINGS)


def test_overwriting_replaces_a_store_and_whatever_was_begun(folder, store, tmp_path):
    convert_audio(folder, store, options=HERE, **SETTINGS)
    before = identity(store)
    replace = Options(workers=0, overwrite=True)
    leave_unfinished(folder, store, replace, n_fft=1024)
    # until the new one is whole, the old one stays
    assert identity(store) == before
    convert_audio(folder, store, options=replace, n_fft=256, n_mels=20)
    with open_store(store) as made:
        assert made.config["n_fft"] == 256
    assert_nothing_beside(store)


def test_what_was_begun_to_overwrite_a_store_is_not_finished_without_saying_so_again(
    folder, store
):
    convert_audio(folder, store, options=HERE, **SETTINGS)
    before = identity(store)
    leave_unfinished(folder, store, Options(workers=0, overwrite=True), n_fft=1024)
    with pytest.raises(StoreError, match=r"already exists.*pass --overwrite"):
        convert_audio(folder, store, options=HERE, **{**SETTINGS, "n_fft": 1024})
    assert identity(store) == before
    replace = Options(workers=0, overwrite=True)
    summary = convert_audio(folder, store, options=replace, **{**SETTINGS, "n_fft": 1024})
    assert summary.n_resumed == 4
    assert_nothing_beside(store)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("audio", "is no HDF5 file; --overwrite replaces stores only"),
        ("text", "is no HDF5 file; --overwrite replaces stores only"),
        ("features", "is an HDF5 file, but no store; --overwrite replaces stores only"),
        ("folder", "it is a folder"),
    ],
)
def test_only_stores_are_overwritten(folder, tmp_path, kind, reason):
    target = folder / "y" / "001.flac" if kind == "audio" else tmp_path / kind
    if kind == "text":
        target.write_text("a letter")
    if kind == "features":
        with h5py.File(target, "w") as file:
            file["spectrogram"] = [1.0]
    if kind == "folder":
        target.mkdir()
    before = target.is_file() and target.read_bytes()
    with pytest.raises(StoreError, match=reason):
        convert_audio(folder, target, options=Options(workers=0, overwrite=True), **SETTINGS)
    assert (target.is_file() and target.read_bytes()) == before
    assert not target.with_name(target.name + ".parts").exists()


def test_of_two_at_once_the_second_is_told_who_holds_the_store(folder, store, tmp_path):
    stub = StubDecoder(tmp_path / "stub")
    stub.write(folder / "zz.m4a", "hang", 1)
    with started(folder, store, *FLAGS, env=stub.environment) as first:
        wait_for(lambda: stub.n_opened(folder / "zz.m4a") == 2, "the hang", first)
        # the other worker may still have a part in hand
        wait_for(lambda: len(parts_of(store)) == 9, "all parts but one", first)
        before = parts_of(store)
        for more in ((), ("--overwrite",), ("--update",)):
            second = invoke(folder, store, *FLAGS, *more)
            assert (second.returncode, second.stdout) == (1, "")
            assert second.stderr == (
                f"specctl: {store} is being written by process {first.pid} on "
                f"{os.uname().nodename}; wait for it or stop it\n"
            )
        assert parts_of(store) == before


def test_a_program_may_change_its_folder_between_two_conversions(folder, tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        convert_audio(folder, "o.h5", options=Options(workers=2), **SETTINGS)
    assert_same(tmp_path / "one" / "o.h5", tmp_path / "two" / "o.h5")


def test_labels_that_are_gone_are_an_error_in_one_line(folder, store, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\nx/000.wav,a\n")
    options = Options(workers=0, labels=labels)
    convert_audio(folder, store, options=options, **SETTINGS)
    labels.unlink()
    with pytest.raises(ParameterError, match=f"cannot read labels: {labels}: No such file"):
        convert_audio(folder, store, options=options, **SETTINGS)


def test_changed_labels_are_other_labels(folder, store, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\nx/000.wav,a\n")
    options = Options(workers=0, labels=labels)
    convert_audio(folder, store, options=options, **SETTINGS)
    labels.write_text("path,label\nx/000.wav,b\n")
    with pytest.raises(StoreError, match="pass --overwrite"):
        convert_audio(folder, store, options=options, **SETTINGS)


@pytest.mark.parametrize(
    "text",
    ["{", "", "3", "{}", '{"config": 3}', "[" * 100_000],
    ids=["half", "empty", "number", "no fields", "no settings", "deep"],
)
def test_a_job_that_cannot_be_read_is_an_error_until_it_is_overwritten(folder, store, text):
    leave_unfinished(folder, store)
    for name in ("plan.jsonl", "job.json"):
        (store.parent / "o.h5.parts" / name).write_text(text)
        with pytest.raises(StoreError, match=f"cannot read .*{name}.*; pass --overwrite"):
            convert_audio(folder, store, options=HERE, **SETTINGS)
    convert_audio(folder, store, options=Options(workers=0, overwrite=True), **SETTINGS)
    assert_nothing_beside(store)


def test_files_of_others_in_the_working_folder_stay(folder, store):
    work = store.parent / "o.h5.parts"
    (work / "mine").mkdir(parents=True)
    for name in ("notes.txt", "mine/notes.txt", "draft.tmp-old"):
        (work / name).write_text("mine")
    leave_unfinished(folder, store)
    convert_audio(folder, store, options=HERE, **SETTINGS)
    assert {path.name for path in work.rglob("*")} == {"mine", "notes.txt", "draft.tmp-old"}
    assert (work / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "link to a folder", "link to nowhere"])
def test_a_working_folder_that_is_none_is_refused_before_the_work(folder, store, kind):
    work, elsewhere = store.parent / "o.h5.parts", store.parent / "elsewhere"
    if kind == "file":
        work.write_text("mine")
    else:
        work.symlink_to(elsewhere)
    if kind == "link to a folder":
        elsewhere.mkdir()
    before = sorted(store.parent.iterdir())
    with pytest.raises(StoreError, match=r"cannot write .*o\.h5\.parts: it is no folder"):
        convert_audio(folder, store, options=HERE, **SETTINGS)
    assert sorted(store.parent.iterdir()) == before


@pytest.mark.parametrize("is_there", [False, True], ids=["dangling", "store"])
def test_a_store_is_made_where_a_link_leads(folder, store, tmp_path, is_there):
    link = tmp_path / "home" / "link.h5"
    link.parent.mkdir()
    link.symlink_to(store)
    if is_there:
        convert_audio(folder / "x", store, options=HERE, **SETTINGS)
    write_noise(folder / "late.wav")
    convert_audio(folder, link, options=replace(HERE, overwrite=True), **SETTINGS)
    write_noise(folder / "later.wav")
    convert_audio(folder, link, options=replace(HERE, update=True), **SETTINGS)
    assert link.is_symlink()
    assert_nothing_beside(store)
    assert_nothing_beside(link)
    with open_store(link) as opened:
        assert "later.wav" in opened
