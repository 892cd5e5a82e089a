"""A bad file among good ones costs itself alone, and is named with its reason."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options
from specctl.errors import AudioError
from specctl.store.verify import verify_store
from tests.convert.audio_files import (
    GOOD,
    RATE,
    bad_files,
    good_files,
    noise,
    skipped_names,
    without_root,
    write,
    write_noise,
)
from tests.convert.commands import assert_nothing_beside, invoke, run

HERE = Options(workers=0)
SETTINGS = {"n_fft": 512, "n_mels": 40, "sample_rate": RATE}
FLAGS = ("--n-fft", 512, "--n-mels", 40, "--sample-rate", RATE)


@pytest.fixture
def folder(tmp_path):
    return good_files(tmp_path / "in" / "good").parent


def test_bad_files_of_every_kind_cost_themselves_alone(folder, tmp_path):
    convert_audio(folder, tmp_path / "clean.h5", options=HERE, **SETTINGS)
    reasons = {f"bad/{name}": why for name, why in bad_files(folder / "bad", tmp_path).items()}
    skipped = {f"bad/{name}": why for name, why in skipped_names(folder / "bad").items()}
    assert len(reasons) + len(skipped) > 20
    out = tmp_path / "out"
    out.mkdir()
    done = run(folder, out / "o.h5", *FLAGS, "--json")
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert summary["n_converted"] == len(GOOD)
    assert summary["n_failed"] == len(reasons)
    assert summary["n_skipped"] == len(skipped)
    assert summary["n_found"] == len(GOOD) + len(reasons) + len(skipped)
    assert dict(summary["skipped"]) == skipped
    with open_store(out / "o.h5") as store, open_store(tmp_path / "clean.h5") as clean:
        assert list(store) == list(clean)
        for key in clean:
            assert store[key].tobytes() == clean[key].tobytes()
            assert (store[key] != 0).any(axis=0).all()
        assert store.mean.tobytes() == clean.mean.tobytes()
        recorded = dict(store.errors)
        sizes = {failure.key: failure.size for failure in store.failures}
    assert set(recorded) == set(reasons)
    for key, why in reasons.items():
        assert why in recorded[key], (key, recorded[key])
        assert len(recorded[key]) > 5
        assert f"{tmp_path}" not in recorded[key]
        assert sizes[key] == (folder / key).stat().st_size
    assert recorded == dict(summary["failures"])
    shown = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(shown) == min(20, len(reasons))
    for line in shown:
        key, _, why = line.removeprefix("failed: ").partition(": ")
        assert recorded[key] == why
    assert verify_store(out / "o.h5") == []
    assert_nothing_beside(out / "o.h5")


def test_all_bad_is_an_error_and_leaves_nothing(tmp_path):
    n_files = len(bad_files(tmp_path / "bad", tmp_path))
    out = tmp_path / "out"
    out.mkdir()
    done = invoke(tmp_path / "bad", out / "o.h5", *FLAGS, "--workers", 0, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"specctl: none of {n_files} files could be converted; claims 2^36.f")
    assert list(out.iterdir()) == []


def test_strict_stops_at_the_first_bad_file_and_goes_on_when_it_is_mended(folder, tmp_path):
    (folder / "good" / "b2.wav").write_bytes(b"")
    store = tmp_path / "o.h5"
    strict = Options(workers=0, strict=True)
    with pytest.raises(AudioError, match=r"^cannot convert good/b2\.wav: empty file$"):
        convert_audio(folder, store, options=strict, **SETTINGS)
    assert not store.exists()
    write_noise(folder / "good" / "b2.wav")
    assert convert_audio(folder, store, options=strict, **SETTINGS).n_converted == len(GOOD) + 1


def test_too_many_failures_in_a_row_stop_the_run(tmp_path):
    folder = tmp_path / "in"
    write_noise(folder / "a.wav")
    for number in range(6):
        (folder / f"b{number}.wav").write_bytes(b"?" * 100)
    write_noise(folder / "c.wav")
    few = Options(workers=0, max_failures=6)
    with pytest.raises(AudioError, match="6 files in a row failed, the last one b5.wav: not an a"):
        convert_audio(folder, tmp_path / "o.h5", options=few, **SETTINGS)
    enough = Options(workers=0, max_failures=7)
    summary = convert_audio(folder, tmp_path / "o.h5", options=enough, **SETTINGS)
    assert (summary.n_converted, summary.n_failed) == (2, 6)
    assert_nothing_beside(tmp_path / "o.h5", "in")


@pytest.mark.parametrize(
    ("max_failures", "message"),
    [
        (1, "^cannot convert b.wav: not an audio f.*; allow more with --max-failures$"),
        (2, "^cannot convert b.wav: not an audio f"),
    ],
)
def test_one_file_that_failed_is_named_alone(tmp_path, max_failures, message):
    (tmp_path / "b.wav").write_bytes(b"?" * 100)
    few = Options(workers=0, max_failures=max_failures)
    with pytest.raises(AudioError, match=message):
        convert_audio(tmp_path, tmp_path / "o.h5", options=few, **SETTINGS)


def test_max_failures_counts_files_of_different_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
    for number in range(6):
        (tmp_path / f"b{number}.wav").write_bytes(b"?" * 100)
    few = Options(workers=0, max_failures=3)
    with pytest.raises(AudioError, match=r"3 files in a row failed, the last one b2\.wav"):
        convert_audio(tmp_path, tmp_path / "o.h5", options=few, **SETTINGS)


def test_the_same_command_is_stopped_by_the_same_failures_until_they_are_mended(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
    folder = tmp_path / "in"
    for number in range(12):
        write_noise(folder / f"{number:02d}.wav")
    for number in (3, 4, 5):
        (folder / f"{number:02d}.wav").write_bytes(b"?" * 100)
    few = Options(workers=0, max_failures=3)
    for _ in range(3):
        with pytest.raises(AudioError, match=r"3 files in a row failed, the last one 05\.wav"):
            convert_audio(folder, tmp_path / "o.h5", options=few, **SETTINGS)
    write_noise(folder / "05.wav")
    summary = convert_audio(folder, tmp_path / "o.h5", options=few, **SETTINGS)
    assert (summary.n_converted, summary.n_failed) == (10, 2)
    assert summary.n_resumed > 0


@pytest.mark.parametrize("is_mended", [False, True])
def test_strict_does_not_take_over_what_failed_before(tmp_path, monkeypatch, is_mended):
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
    folder = tmp_path / "in"
    for number in range(6):
        write_noise(folder / f"{number}.wav")
    for number in (1, 2):
        (folder / f"{number}.wav").write_bytes(b"")
    with pytest.raises(AudioError, match="^2 files in a row failed"):
        options = Options(workers=0, max_failures=2)
        convert_audio(folder, tmp_path / "o.h5", options=options, **SETTINGS)
    strict = Options(workers=0, strict=True)
    if is_mended:
        for number in (1, 2):
            write_noise(folder / f"{number}.wav")
        assert convert_audio(folder, tmp_path / "o.h5", options=strict, **SETTINGS).n_failed == 0
        return
    with pytest.raises(AudioError, match=r"^cannot convert 1\.wav: empty file$"):
        convert_audio(folder, tmp_path / "o.h5", options=strict, **SETTINGS)


@pytest.mark.parametrize("n_samples", [1, 2, 255, 256, 257])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge"])
def test_a_clip_shorter_than_a_window_is_converted(tmp_path, n_samples, pad_mode):
    write(tmp_path / "a.wav", noise(n_samples), subtype="FLOAT")
    summary = convert_audio(
        tmp_path / "a.wav",
        tmp_path / "o.h5",
        options=HERE,
        n_fft=512,
        n_mels=20,
        pad_mode=pad_mode,
    )
    assert summary.n_failed == 0
    with open_store(tmp_path / "o.h5") as store:
        assert store["a.wav"].shape == (20, 1 + n_samples // 128)
        assert np.isfinite(store["a.wav"]).all()


def test_a_clip_too_short_for_one_frame_without_centring_says_so(tmp_path):
    write(tmp_path / "a.wav", noise(511), subtype="FLOAT")
    write(tmp_path / "b.wav", noise(512), subtype="FLOAT")
    summary = convert_audio(
        tmp_path, tmp_path / "o.h5", options=HERE, n_fft=512, n_mels=20, center=False
    )
    assert summary.failures == (
        ("a.wav", "511 samples are fewer than n_fft=512; convert with centred frames"),
    )
    with open_store(tmp_path / "o.h5") as store:
        assert store["b.wav"].shape == (20, 1)


def test_a_clip_too_short_for_one_frame_is_counted_at_the_rate_of_the_store(tmp_path):
    write(tmp_path / "a.wav", noise(2500), 44_100)
    write(tmp_path / "b.wav", noise(3), 44_100)
    write(tmp_path / "c.wav", noise(1900))
    write(tmp_path / "d.wav", noise(2048))
    options = {"sample_rate": RATE, "n_fft": 2048, "n_mels": 20, "center": False}
    summary = convert_audio(tmp_path, tmp_path / "o.h5", options=HERE, **options)
    advice = "fewer than n_fft=2048; convert with centred frames"
    assert summary.failures == (
        ("a.wav", f"908 samples at {RATE} Hz are {advice}"),
        ("b.wav", f"2 samples at {RATE} Hz are {advice}"),
        ("c.wav", f"1900 samples are {advice}"),
    )


def test_loud_but_sound_samples_are_kept_and_too_loud_ones_named(tmp_path):
    for name, factor in {"a": 1.0, "b": 1e3, "c": 1e9}.items():
        write(tmp_path / f"{name}.wav", noise(RATE) * np.float32(factor), subtype="FLOAT")
    summary = convert_audio(tmp_path, tmp_path / "o.h5", options=HERE, **SETTINGS)
    assert summary.n_converted == 3
    with open_store(tmp_path / "o.h5") as store:
        np.testing.assert_allclose(store["b.wav"], store["a.wav"] + 60, atol=1e-3)


def test_values_that_the_stored_type_cannot_hold_fail_their_file_alone(tmp_path):
    write(tmp_path / "a.wav", noise(RATE) * np.float32(1e-3), subtype="FLOAT")
    write(tmp_path / "b.wav", noise(RATE) * np.float32(1e4), subtype="FLOAT")
    write(tmp_path / "c.wav", noise(RATE) * np.float32(1e-3), subtype="FLOAT")
    summary = convert_audio(
        tmp_path, tmp_path / "o.h5", options=HERE, feature="power", dtype="float16", n_fft=256
    )
    ((key, reason),) = summary.failures
    assert key == "b.wav"
    assert "float16" in reason
    with open_store(tmp_path / "o.h5") as store:
        assert list(store) == ["a.wav", "c.wav"]
    assert verify_store(tmp_path / "o.h5") == []


def test_a_file_that_goes_away_between_listing_and_reading_fails_alone(folder, tmp_path):
    def remove(progress):
        if progress.stage == "reading headers":
            (folder / "good" / "c.ogg").unlink(missing_ok=True)

    store = tmp_path / "o.h5"
    summary = convert_audio(folder, store, options=HERE, progress=remove, **SETTINGS)
    assert summary.failures == (("good/c.ogg", "no such file"),)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users")
def test_what_may_not_be_read_fails_alone(folder):
    # what is imported late may be out of reach then
    convert_audio(folder, folder / "warm.h5", options=HERE, **SETTINGS)
    with tempfile.TemporaryDirectory() as reachable:
        place = Path(reachable)
        good_files(place / "good")
        place.chmod(0o777)
        (place / "good" / "c.ogg").chmod(0)
        (place / "secret").mkdir(0)
        with without_root():
            summary = convert_audio(place, place / "o.h5", options=HERE, **SETTINGS)
    denied = "permission denied"
    assert summary.failures == (("good/c.ogg", denied), ("secret", denied))
    assert summary.skipped == ()
    assert summary.n_converted == len(GOOD) - 1


SWAPS = {
    "fifo": (os.mkfifo, "not a regular file"),
    "folder": (os.mkdir, "not a regular file"),
    "device": (lambda path: os.symlink("/dev/zero", path), "not a regular file"),
    "nowhere": (lambda path: os.symlink("nowhere", path), "no such file"),
    "circle": (lambda path: os.symlink(path, path), "symbolic links that lead in a circle"),
    "nothing": (lambda path: None, "no such file"),
    "empty": (lambda path: path.touch(), "empty file"),
    "text": (lambda path: path.write_text("no audio" * 9), "not an audio format"),
    "other": (lambda path: write_noise(path, 0.5, seed=99), ""),
}


@pytest.mark.parametrize("kind", SWAPS)
@pytest.mark.parametrize("stage", ["reading headers", "converting"])
def test_a_file_that_is_swapped_after_it_was_found(folder, tmp_path, monkeypatch, kind, stage):
    """It fails alone, or what is stored is all of what it is now."""
    swap, reason = SWAPS[kind]
    path = folder / "good" / "d.wav"
    write_noise(path)
    # a part of its own, so that it is still ahead when converting begins
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)

    def swap_once(progress):
        if progress.stage == stage and not (tmp_path / "swapped").exists():
            (tmp_path / "swapped").touch()
            path.unlink()
            swap(path)

    summary = convert_audio(
        folder, tmp_path / "o.h5", options=HERE, progress=swap_once, **SETTINGS
    )
    assert (tmp_path / "swapped").exists()
    assert summary.n_converted + summary.n_failed == len(GOOD) + 1
    if reason:
        ((key, why),) = summary.failures
        assert key == "good/d.wav"
        assert reason in why
        return
    assert summary.n_failed == 0
    with open_store(tmp_path / "o.h5") as store:
        record = store.record("good/d.wav")
        assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (record.size, record.n_samples) == (path.stat().st_size, RATE // 2)


def test_names_that_climb_stay_in_the_store_as_plain_keys(tmp_path):
    for name in ("in/deep/a.wav", "in/b.wav", "c.wav"):
        write_noise(tmp_path / name, 0.3)
    (tmp_path / "list").write_text("in/deep/../b.wav\n./in/deep/../../c.wav\nin/deep/a.wav\n")
    done = invoke("--files-from", tmp_path / "list", tmp_path / "o.h5", *FLAGS, "--workers", 0)
    assert done.returncode == 0, done.stderr
    with open_store(tmp_path / "o.h5") as store:
        assert list(store) == ["c.wav", "in/b.wav", "in/deep/a.wav"]


def test_names_with_line_breaks_and_brackets_do_not_break_the_report(tmp_path):
    folder = tmp_path / "in"
    write_noise(folder / "good.wav")
    bad = "[red]a\nb\x1b[31m\udcff.wav"
    (folder / bad).write_bytes(b"")
    done = invoke(folder, tmp_path / "o.h5", *FLAGS, "--workers", 0)
    assert done.returncode == 3
    assert "failed: [red]a\\nb\\x1b[31m%FF.wav: empty file" in done.stderr.splitlines()
    shutil.rmtree(folder)
