"""``--allow-truncated``: what there is of a file that is cut short is converted and marked."""

import json

import h5py
import numpy as np
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options
from specctl.convert.repair import repair_store
from specctl.errors import StoreError
from specctl.store.verify import verify_store
from tests.convert.audio_files import RATE, good_files, noise, write, write_noise
from tests.convert.bad_audio import CUT_FORMATS, ogg_pages
from tests.convert.commands import assert_same, invoke

HERE = Options(workers=0)
KEEPING = Options(workers=0, allow_truncated=True)
SETTINGS = {"n_fft": 512, "hop_length": 128, "n_mels": 20, "sample_rate": RATE}
FLAGS = ("--n-fft", 512, "--hop-length", 128, "--n-mels", 20, "--sample-rate", RATE)
FRAMES_AT_THE_CUT = 24
"""Two frames of MPEG audio, the last of which lacks its neighbour, and two windows."""


def convert(folder, store, options=KEEPING, **settings):
    return convert_audio(folder, store, options=options, **{**SETTINGS, **settings})


@pytest.fixture
def folder(tmp_path):
    """A good file of each of five formats, and ``cut.wav``."""
    folder = good_files(tmp_path / "in")
    whole = write_noise(tmp_path / "whole.wav", 2).read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.mark.parametrize("name", CUT_FORMATS)
def test_items_are_the_beginning_of_those_of_the_whole_file(tmp_path, name):
    folder = tmp_path / "in"
    # long enough for several pages of Ogg
    path = write(folder / f"whole.{name}", noise(8 * RATE), **CUT_FORMATS[name])
    whole = path.read_bytes()
    for percent in (30, 60, 95):
        (folder / f"{percent}.{name}").write_bytes(whole[: len(whole) * percent // 100])
    summary = convert(folder, tmp_path / "o.h5")
    assert (summary.n_failed, summary.n_truncated, summary.n_converted) == (0, 3, 4)
    with open_store(tmp_path / "o.h5") as store:
        reference = store[f"whole.{name}"]
        assert store.record(f"whole.{name}").truncated is False
        assert store.index["truncated"].tolist() == [True, True, True, False]
        for percent in (30, 60, 95):
            key = f"{percent}.{name}"
            assert store.record(key).truncated is True
            n_frames = store[key].shape[1]
            assert 0 < n_frames < reference.shape[1]
            n_equal = max(0, n_frames - FRAMES_AT_THE_CUT)
            np.testing.assert_array_equal(store[key][:, :n_equal], reference[:, :n_equal])
    assert verify_store(tmp_path / "o.h5") == []


def test_without_the_flag_it_fails_and_the_report_says_what_helps(folder, tmp_path):
    done = invoke(folder, tmp_path / "o.h5", *FLAGS, "--workers", 0)
    assert done.returncode == 3
    assert "failed: cut.wav: unexpected end of data at 0.999 s" in done.stderr.splitlines()
    (hint,) = [line for line in done.stderr.splitlines() if "--allow-truncated" in line]
    assert hint.startswith("1 of those that failed is cut short; --update --allow-truncated")
    with h5py.File(tmp_path / "o.h5") as file:
        assert "truncated" not in file["index"]


@pytest.mark.parametrize(("name", "n_bytes"), [("c.ogg", 40), ("cut.wav", 44)])
def test_the_flag_is_not_recommended_where_nothing_is_left(folder, tmp_path, name, n_bytes):
    beginning = (folder / name).read_bytes()[:n_bytes]
    (folder / "cut.wav").unlink()
    (folder / name).write_bytes(beginning)
    done = invoke(folder, tmp_path / "o.h5", *FLAGS, "--workers", 0)
    assert done.returncode == 3
    assert f"failed: {name}: unexpected end of data" in done.stderr
    assert "--allow-truncated" not in done.stderr


def test_with_the_flag_it_is_not_recommended_to_files_that_fail_even_so(folder, tmp_path):
    # too little of a page of Ogg for a single sample
    (folder / "c.ogg").write_bytes((folder / "c.ogg").read_bytes()[:40])
    done = invoke(folder, tmp_path / "o.h5", *FLAGS, "--workers", 0, "--allow-truncated")
    assert done.returncode == 3
    assert "1 file was cut short and kept" in done.stderr.splitlines()
    assert "failed: c.ogg: unexpected end of data" in done.stderr
    assert "--allow-truncated" not in done.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_with_the_flag_all_is_well_and_each_is_named(folder, tmp_path, workers):
    flags = (*FLAGS, "--workers", workers, "--allow-truncated")
    done = invoke(folder, tmp_path / "o.h5", *flags, "--json")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "cut short and kept: cut.wav: unexpected end of data at 0.999 s" in lines
    assert "1 file was cut short and kept" in lines
    summary = json.loads(done.stdout)
    assert (summary["n_found"], summary["n_converted"], summary["n_truncated"]) == (6, 6, 1)
    assert summary["truncated"] == [["cut.wav", "unexpected end of data at 0.999 s"]]
    with h5py.File(tmp_path / "o.h5") as file:
        assert file["index/truncated"].dtype == np.uint8
        assert dict(zip(file["index/key"].asstr(), file["index/truncated"], strict=True)) == {
            **dict.fromkeys(["a.wav", "b.flac", "c.ogg", "d.mp3", "e.aiff"], 0),
            "cut.wav": 1,
        }


def test_all_items_of_a_file_are_marked(folder, tmp_path):
    convert(folder, tmp_path / "o.h5", segment=0.25)
    with open_store(tmp_path / "o.h5") as store:
        marked = [record.key for record in store.records if record.truncated]
    assert marked == [f"cut.wav#s0000{number}" for number in range(4)]


def test_whole_files_are_the_same_with_the_flag(tmp_path):
    folder = good_files(tmp_path / "in")
    convert(folder, tmp_path / "with.h5")
    convert(folder, tmp_path / "without.h5", HERE)
    assert_same(tmp_path / "with.h5", tmp_path / "without.h5")
    with h5py.File(tmp_path / "with.h5") as file:
        assert "truncated" not in file["index"]


def test_an_update_with_the_flag_takes_what_had_failed(folder, tmp_path):
    store = tmp_path / "o.h5"
    assert convert(folder, store, HERE).n_failed == 1
    with pytest.raises(StoreError, match="made from the same files without --allow-truncated; "):
        convert(folder, store)
    updating = Options(workers=0, update=True, allow_truncated=True)
    summary = convert(folder, store, updating)
    assert (summary.n_converted, summary.n_failed, summary.n_unchanged) == (1, 0, 5)
    with open_store(store) as opened:
        assert [record.key for record in opened.records if record.truncated] == ["cut.wav"]
        assert opened.failures == []
    assert verify_store(store) == []
    assert convert(folder, store, updating).status == "complete"
    # it stays until its file changes
    write_noise(folder / "cut.wav", 2)
    convert(folder, store, Options(workers=0, update=True))
    with open_store(store) as opened:
        assert not opened.index["truncated"].any()
        assert len(opened) == 6
    assert verify_store(store) == []
    with h5py.File(store) as file:
        assert "truncated" not in file["index"]


def test_an_unfinished_run_is_not_finished_with_another_value(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
    store = tmp_path / "o.h5"

    def stop(progress):
        if progress.stage == "converting" and progress.n_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_audio(folder, store, options=KEEPING, progress=stop, **SETTINGS)
    with pytest.raises(StoreError, match="the same files with --allow-truncated; repeat its com"):
        convert(folder, store, HERE)
    summary = convert(folder, store)
    assert summary.n_resumed > 0
    assert summary.truncated == (("cut.wav", "unexpected end of data at 0.999 s"),)
    convert(folder, tmp_path / "at-once.h5")
    assert_same(store, tmp_path / "at-once.h5")


def test_what_was_kept_is_told_by_a_run_that_only_joins_the_parts(folder, tmp_path, monkeypatch):
    store = tmp_path / "o.h5"
    with monkeypatch.context() as patch:
        patch.setattr("specctl.convert.merging.Joining.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            convert(folder, store)
    summary = convert(folder, store)
    assert summary.n_resumed == 1
    assert summary.truncated == (("cut.wav", "unexpected end of data at 0.999 s"),)


def test_a_marked_item_can_be_repaired(folder, tmp_path):
    store = tmp_path / "o.h5"
    convert(folder, store)
    with open_store(store) as opened:
        before = opened.records
    with h5py.File(store) as file:
        chunk = file["spectrogram"].id.get_chunk_info(0)
    damaged = bytearray(store.read_bytes())
    damaged[chunk.byte_offset + chunk.size // 2] ^= 1
    store.write_bytes(damaged)
    repaired = repair_store(store, folder, options=HERE)
    assert "cut.wav" in repaired.repaired
    assert (repaired.differing, repaired.problems) == ((), ())
    with open_store(store) as opened:
        assert sorted(opened.records, key=str) == sorted(before, key=str)


def test_info_tells_of_it(folder, tmp_path):
    convert(folder, tmp_path / "o.h5")
    shown = run_info(tmp_path / "o.h5")
    assert "cut short   1 is, or may be: cut.wav" in shown.splitlines()
    facts = json.loads(run_info(tmp_path / "o.h5", "--json"))
    assert (facts["n_truncated"], facts["truncated"]) == (1, ["cut.wav"])
    assert "truncated   True" in run_info(tmp_path / "o.h5", "cut.wav").splitlines()
    assert "truncated   False" in run_info(tmp_path / "o.h5", "a.wav").splitlines()


def run_info(*arguments):
    done = invoke(*arguments, command="info")
    assert done.returncode == 0
    return done.stdout


def test_a_doubt_about_the_last_page_is_marked_and_not_said_to_be_a_cut(tmp_path):
    folder = good_files(tmp_path / "in")
    pages = ogg_pages((folder / "c.ogg").read_bytes())
    (folder / "c.ogg").write_bytes(b"".join(pages[:-1]))
    done = invoke(folder, tmp_path / "o.h5", *FLAGS, "--workers", 0)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert "kept: c.ogg: perhaps cut short: no page is marked as the last" in lines
    assert "1 file, kept, is perhaps cut short" in lines
    assert "were cut short" not in done.stderr
    assert "was cut short" not in done.stderr
    with open_store(tmp_path / "o.h5") as store:
        assert store.record("c.ogg").truncated
