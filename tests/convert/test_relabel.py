"""``--update --labels``: other labels are written, and nothing is converted for them."""

import json
import os

import numpy as np
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options, estimate_conversion
from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import assert_nothing_beside, invoke
from tests.convert.unfinished import stop_after_parts

SETTINGS = {"n_fft": 512, "n_mels": 20}
UPDATE = Options(workers=0, update=True)


@pytest.fixture
def folder(tmp_path):
    folder = corpus(tmp_path / "in", 6)
    (folder / "x" / "bad.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture
def store(folder, tmp_path):
    convert_audio(folder, tmp_path / "o.h5", options=Options(workers=0), **SETTINGS)
    return tmp_path / "o.h5"


@pytest.fixture
def table(tmp_path):
    return tmp_path / "labels.csv"


def arrays(store):
    with open_store(store) as opened:
        return {key: opened[key] for key in opened}


def labels(store):
    with open_store(store) as opened:
        return {record.source: record.label for record in opened.records}


def assert_same_items(store, before):
    assert verify_store(store) == []
    now = arrays(store)
    assert list(now) == list(before)
    for key, array in now.items():
        np.testing.assert_array_equal(array, before[key])


def test_items_take_the_labels_that_they_have_now(folder, store, tmp_path):
    table = tmp_path / "labels.csv"
    options = Options(workers=0, update=True, labels=table)
    before = arrays(store)
    for label in ("noise", "hiss"):
        table.write_text(f"path,label\nx/000.wav,{label}\n")
        # what failed before is tried again, and nothing else is converted
        summary = convert_audio(folder, store, options=options, **SETTINGS)
        assert (summary.n_converted, summary.n_unchanged, summary.n_relabelled) == (0, 6, 1)
        found = labels(store)
        assert {key for key in found if found[key]} == {"x/000.wav"}
        assert found["x/000.wav"] == label
    # without a word of labels, they stay
    assert convert_audio(folder, store, options=UPDATE, **SETTINGS).n_converted == 0
    with open_store(store) as opened:
        assert {record.label for record in opened.records} == {"", "hiss"}
    for key, array in arrays(store).items():
        np.testing.assert_array_equal(array, before[key])


def test_all_get_the_names_of_their_folders_as_from_the_beginning(folder, store, tmp_path):
    before = arrays(store)
    (folder / "x" / "bad.wav").unlink()
    options = Options(workers=0, update=True, labels="folder")
    assert convert_audio(folder, store, options=options, **SETTINGS).n_relabelled == 6
    assert_same_items(store, before)
    fresh = tmp_path / "fresh.h5"
    convert_audio(folder, fresh, options=Options(workers=0, labels="folder"), **SETTINGS)
    assert labels(store) == labels(fresh)
    with open_store(store) as left, open_store(fresh) as right:
        np.testing.assert_array_equal(left.mean, right.mean)
        assert left.attributes["request"] == right.attributes["request"]
    assert convert_audio(folder, store, options=options, **SETTINGS).status == "complete"


def test_an_item_whose_file_can_be_read_no_more_stays(folder, store, table):
    before = arrays(store)
    source = folder / "x" / "000.wav"
    status = source.stat()
    source.write_bytes(b"\0" * status.st_size)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    table.write_text("path,label\nx/000.wav,noise\n")
    options = Options(workers=0, update=True, labels=table)
    convert_audio(folder, store, options=options, **SETTINGS)
    assert labels(store)["x/000.wav"] == "noise"
    assert_same_items(store, before)


@pytest.mark.parametrize("label", ["", "n", "lärm " * 40], ids=["none", "short", "long"])
def test_labels_may_be_shorter_or_longer_than_those_before(folder, store, table, label):
    options = Options(workers=0, update=True, labels=table)
    table.write_text("path,label\n" + "".join(f"{key},noise\n" for key in labels(store)))
    convert_audio(folder, store, options=options, **SETTINGS)
    assert set(labels(store).values()) == {"noise"}
    table.write_text("path,label\n" + "".join(f"{key},{label}\n" for key in labels(store)))
    convert_audio(folder, store, options=options, **SETTINGS)
    assert set(labels(store).values()) == {label.strip()}
    assert verify_store(store) == []


def test_new_files_and_labels_come_together_after_a_stop(
    folder, store, table, tmp_path, monkeypatch
):
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_LAST_PART", 1)
    before = arrays(store)
    for number in range(4):
        write_noise(folder / "new" / f"{number}.wav", 0.5, seed=number)
    table.write_text("path,label\nx/000.wav,noise\nnew/1.wav,hiss\n")
    options = Options(workers=0, update=True, labels=table)
    stop_after_parts(folder, store, 2, options, **SETTINGS)
    assert_same_items(store, before)
    summary = convert_audio(folder, store, options=options, **SETTINGS)
    assert (summary.n_resumed, summary.n_relabelled, summary.n_items) == (2, 1, 10)
    found = labels(store)
    assert {key: found[key] for key in found if found[key]} == {
        "x/000.wav": "noise",
        "new/1.wav": "hiss",
    }
    assert verify_store(store) == []
    assert_nothing_beside(store, folder.name, table.name)


def test_the_command_and_its_dry_run_say_how_many(folder, store, table):
    table.write_text("path,label\nx/000.wav,noise\ny/001.flac,noise\n")
    options = Options(workers=0, update=True, labels=table)
    estimate = estimate_conversion(folder, store, options=options, **SETTINGS)
    assert (estimate.n_relabelled, estimate.n_unchanged) == (2, 6)
    assert not estimate.is_nothing
    flags = ("--n-fft", 512, "--n-mels", 20, "--labels", table, "--update", "--workers", 0)
    assert (
        ", 6 unchanged (2 with another label than before)"
        in invoke(folder, store, *flags, "--dry-run").stdout
    )
    done = invoke(folder, store, *flags)
    assert done.returncode == 3
    assert ", 6 unchanged (2 with another label than before)" in done.stderr
    # most of the time went into what is there already
    assert "real time" not in done.stderr
    report = json.loads(invoke(folder, store, *flags, "--json").stdout)
    assert (report["status"], report["n_relabelled"]) == ("complete", 0)


def test_without_labels_a_changed_file_keeps_the_one_it_had(folder, tmp_path):
    store = tmp_path / "labelled.h5"
    options = Options(workers=0, labels="folder")
    convert_audio(folder, store, options=options, **SETTINGS)
    before = labels(store)
    write_noise(folder / "y" / "001.flac", 1.5, seed=70)
    os.utime(folder / "x" / "000.wav", ns=(1, 1))
    write_noise(folder / "y" / "new.wav", seed=71)
    write_noise(folder / "x" / "bad.wav", seed=72)
    summary = convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert summary.n_converted == 4
    assert labels(store) == {**before, "y/new.wav": "", "x/bad.wav": ""}


def test_items_whose_files_are_gone_have_labels_too(folder, store, table):
    before = arrays(store)
    (folder / "x" / "000.wav").unlink()
    (folder / "x" / "bad.wav").unlink()
    table.write_text("path,label\nx/000.wav,noise\nx/never.wav,hiss\n")
    options = Options(workers=0, update=True, labels=table)
    summary = convert_audio(folder, store, options=options, **SETTINGS)
    assert (summary.n_relabelled, summary.n_labels_unused, summary.n_unlabelled) == (1, 1, 5)
    assert labels(store)["x/000.wav"] == "noise"
    assert_same_items(store, before)
    flags = ("--n-fft", 512, "--n-mels", 20, "--labels", table, "--update", "--workers", 0)
    assert invoke(folder, store, *flags).stderr.splitlines()[1:] == [
        "5 files unchanged",
        "5 files without a label",
        "1 label for files that were not found",
        "1 file of the store is not found under SOURCE: --update --prune takes it out",
    ]
    # without a word of it in the table it keeps the one it has
    table.write_text("path,label\ny/001.flac,noise\n")
    convert_audio(folder, store, options=options, **SETTINGS)
    assert {key for key, label in labels(store).items() if label} == {"x/000.wav", "y/001.flac"}


def test_new_files_without_a_label_are_told_of_where_others_have_one(folder, store, tmp_path):
    write_noise(folder / "y" / "new.wav", seed=71)
    assert convert_audio(folder, store, options=UPDATE, **SETTINGS).n_unlabelled == 0
    labelled = tmp_path / "labelled.h5"
    convert_audio(folder, labelled, options=Options(workers=0, labels="folder"), **SETTINGS)
    write_noise(folder / "y" / "newer.wav", seed=72)
    (folder / "x" / "bad.wav").unlink()
    assert convert_audio(folder, labelled, options=UPDATE, **SETTINGS).n_unlabelled == 1
