"""Which files are learned from, and what is said of those that are not."""

import os
import shutil
import unicodedata
from collections import Counter

import pytest

from specctl.errors import AudioError, ParameterError, TrainingError
from specctl.training import Clips, draw_split, find_labelled, train_basis
from tests.training.audio import TINY, write_tones


@pytest.fixture
def folder(tmp_path):
    return write_tones(tmp_path / "in", n_clips=3)


def test_files_beside_the_folders_of_classes_are_told_of(folder):
    shutil.copy(folder / "low" / "00.wav", folder / "stray.wav")
    os.link(folder / "low" / "00.wav", folder / "low" / "linked.wav")
    (folder / "low" / "again.wav").symlink_to("00.wav")
    (folder / "notes.txt").touch()
    told = []
    found = find_labelled(folder, leave_out=lambda key, reason: told.append((key, reason)))
    assert [each.source.key for each in found if each.label == "low"] == [
        "low/00.wav",
        "low/01.wav",
        "low/02.wav",
        "low/linked.wav",
    ]
    assert told == [
        ("low/again.wav", "the same file as low/00.wav"),
        ("stray.wav", "in no folder of a class"),
    ]


def test_a_training_reports_what_it_leaves_out(tones, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(tones, folder)
    shutil.copy(folder / "low" / "00.wav", folder / "stray.wav")
    events = []
    train_basis(folder, tmp_path / "b", **{**TINY, "epochs": 1}, report=events.append)
    assert events[0] == {
        "event": "left out",
        "files": [("stray.wav", "in no folder of a class")],
    }
    assert [event["event"] for event in events].count("left out") == 1


def test_a_class_whose_folder_cannot_be_read_does_not_vanish(folder, monkeypatch):
    shutil.copytree(folder / "low", folder / "middle")
    scandir = os.scandir

    def refusing_scandir(path):
        if os.fsencode(path).endswith(b"middle"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing_scandir)
    with pytest.raises(AudioError, match="cannot read '.*middle': permission denied"):
        find_labelled(folder)


def test_a_class_whose_folder_could_not_be_read_at_first_does_not_vanish(folder, monkeypatch):
    shutil.copytree(folder / "low", folder / "middle")
    scandir, refused = os.scandir, []

    def refusing_scandir(path):
        if os.fsencode(path).endswith(b"middle") and not refused:
            refused.append(path)
            raise OSError(5, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing_scandir)
    with pytest.raises(AudioError, match="cannot read '.*middle': input/output error"):
        find_labelled(folder)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_table_may_write_the_accents_of_a_path_in_another_form(form, tmp_path):
    # files from a Mac are called in the form NFD, editors write NFC
    folder = write_tones(tmp_path / "in", n_clips=3, classes=("café", "thé"))
    (folder / "café").rename(folder / unicodedata.normalize("NFD", "café"))
    table = tmp_path / "labels.csv"
    rows = "".join(f"{name}/{n:02d}.wav,{name}\n" for name in ("café", "thé") for n in range(3))
    table.write_text(unicodedata.normalize(form, f"path,label\n{rows}"), encoding="utf-8")
    found = find_labelled(folder, table)
    assert [os.path.exists(each.source.path) for each in found] == [True] * 6
    assert [each.label for each in found] == [
        unicodedata.normalize(form, name) for name in ["café"] * 3 + ["thé"] * 3
    ]


def test_two_classes_that_read_the_same_are_refused(tmp_path):
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    folder = write_tones(tmp_path / "in", n_clips=3, classes=(*names, "low"))
    with pytest.raises(TrainingError, match="two labels read 'café' and are other characters"):
        find_labelled(folder)


def test_groups_are_given_once(folder, tmp_path):
    labels = tmp_path / "l.csv"
    rows = "".join(f"{name}/{i:02d}.wav,{name},\n" for name in ("low", "high") for i in range(3))
    labels.write_text(f"path,label,group\n{rows}")
    assert find_labelled(folder, labels, group=r"\d")[0].group == "0"
    labels.write_text(f"path,label,group\n{rows}".replace("high,", "high,g"))
    with pytest.raises(ParameterError, match="a regular expression or a column of .*, not both"):
        find_labelled(folder, labels, group=r"\d")


def test_copies_of_a_file_are_on_one_side_of_a_split(tmp_path):
    folder = write_tones(tmp_path / "in", n_clips=4)
    for name in ("low", "high"):
        for clip in range(4):
            shutil.copy(folder / name / f"{clip:02d}.wav", folder / name / f"copy{clip}.wav")
    clips = Clips(find_labelled(folder), 8000)
    for seed in range(5):
        for part in draw_split(clips.files, seed):
            keys = [clips.files[i].source.key.replace("copy", "0") for i in part]
            assert set(Counter(keys).values()) == {2}


def test_copies_are_told_of_and_given_groups_and_splits_stay(tmp_path):
    folder = write_tones(tmp_path / "in", n_clips=4)
    shutil.copy(folder / "low" / "00.wav", folder / "high" / "copy.wav")
    shutil.copy(folder / "low" / "00.wav", folder / "low" / "copy.wav")
    copies = (
        ("low/00.wav", "as high/copy.wav, of another label"),
        ("low/copy.wav", "as high/copy.wav, of another label"),
    )
    events = []
    given = {**TINY, "epochs": 1, "report": events.append}
    summary = train_basis(folder, tmp_path / "b", **given)
    assert [event["files"] for event in events if event["event"] == "copies"] == [copies]
    assert summary.to_dict()["copies"] == [list(copy) for copy in copies]
    grouped = find_labelled(folder, group=r"/(\w)")
    assert Clips(grouped, 8000).files == grouped
    table = tmp_path / "labels.csv"
    rows = "".join(
        f"{name},{name.partition('/')[0]},{'test' if 'copy' in name else 'train'}\n"
        for name in (each.source.key for each in grouped)
    )
    table.write_text(f"path,label,split\n{rows}")
    divided = find_labelled(folder, table)
    assert Clips(divided, 8000).files == divided
    assert Clips(divided, 8000).copies == copies


@pytest.mark.parametrize("is_first", [True, False])
def test_a_copy_of_a_file_in_a_group_joins_it_whichever_comes_first(is_first, tmp_path):
    folder = write_tones(tmp_path / "in", n_clips=6)
    shutil.copy(folder / "low" / "03.wav", folder / "low" / "copy.wav")
    rows = [f"{name}/{i:02d}.wav,{name}," for name in ("low", "high") for i in range(6)]
    rows = [row + "speaker" * (row == "low/03.wav,low,") for row in rows]
    rows.insert(0 if is_first else len(rows), "low/copy.wav,low,")
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["path,label,group", *rows]))
    clips = Clips(find_labelled(folder, table), 8000)
    groups = {each.source.key: each.group for each in clips.files}
    assert (groups["low/copy.wav"], groups["low/03.wav"]) == ("speaker", "speaker")
    assert groups["low/00.wav"] == "low/00.wav"
