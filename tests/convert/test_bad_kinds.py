"""Bad audio of all kinds is found out and named; what is good or merely odd is converted."""

import os
import socket

import numpy as np
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options
from specctl.store.verify import verify_store
from tests.convert.audio_files import GOOD, RATE, bad_files, good_files, noise, write
from tests.convert.bad_audio import CUT_FORMATS, bad_kinds, encoded, ogg_pages
from tests.convert.good_audio import chained_ogg, good_kinds, odd_but_legal, write_good

HERE = Options(workers=0, max_failures=10_000)
SETTINGS = {"n_fft": 512, "n_mels": 20, "sample_rate": RATE}


def convert(folder, store, **settings):
    return convert_audio(folder, store, options=HERE, **{**SETTINGS, **settings})


def test_each_of_many_kinds_has_its_reason_and_costs_itself_alone(tmp_path):
    folder = good_files(tmp_path / "in" / "good").parent
    convert(folder, tmp_path / "clean.h5")
    reasons = {f"bad/{key}": why for key, why in bad_files(folder / "bad", tmp_path).items()}
    reasons |= {f"kinds/{key}": why for key, why in bad_kinds(folder / "kinds", tmp_path).items()}
    assert len(reasons) >= 90
    summary = convert(folder, tmp_path / "o.h5")
    failures = dict(summary.failures)
    assert set(failures) == set(reasons)
    assert {key: why for key, why in reasons.items() if why not in failures[key]} == {}
    assert all(len(reason) > 8 for reason in failures.values())
    assert summary.n_converted == len(GOOD)
    with open_store(tmp_path / "o.h5") as store, open_store(tmp_path / "clean.h5") as clean:
        assert dict(store.errors) == failures
        for key in clean:
            assert store[key].tobytes() == clean[key].tobytes()
    assert verify_store(tmp_path / "o.h5") == []


def test_what_is_no_file_is_not_opened(tmp_path):
    folder = good_files(tmp_path / "in")
    os.mkfifo(folder / "fifo.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(folder)  # a socket's name is at most 107 bytes long
        listener.bind("socket.wav")
        os.chdir(here)
    (folder / "device.wav").symlink_to("/dev/zero")
    (folder / "folder.wav").mkdir()
    (folder / "dangling.wav").symlink_to(folder / "nowhere")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "up.wav").symlink_to(folder)
    (folder / "pool").symlink_to(folder / "pond")
    (folder / "pond").symlink_to(folder / "pool")
    summary = convert(folder, tmp_path / "o.h5")
    assert (summary.n_converted, summary.n_failed) == (len(GOOD), 0)
    skipped = dict(summary.skipped)
    for kind in ("fifo", "socket", "device"):
        assert skipped[f"{kind}.wav"] == "not a regular file"
    assert skipped["dangling.wav"] == "a symbolic link that leads nowhere"
    assert "circle" in skipped["loop.wav"] or "nowhere" in skipped["loop.wav"]
    assert not [key for key in skipped if key.endswith((".flac", ".ogg", ".mp3", ".aiff"))]


@pytest.mark.parametrize("name", CUT_FORMATS)
def test_audio_cut_anywhere_is_never_taken_for_whole(tmp_path, name):
    whole = encoded(tmp_path, name, **CUT_FORMATS[name])
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "whole").mkdir()
    (folder / "whole" / f"a.{name}").write_bytes(whole)
    sizes = {percent: len(whole) * percent // 100 for percent in range(5, 100, 5)}
    if name in ("ogg", "opus"):
        # between two pages a recording may really end
        ends = set(np.cumsum([len(page) for page in ogg_pages(whole)]).tolist())
        assert not ends & set(sizes.values())
    for percent, size in sizes.items():
        (folder / f"{percent:02d}.{name}").write_bytes(whole[:size])
    summary = convert(folder, tmp_path / "o.h5")
    assert summary.n_converted == 1
    assert {key for key, _ in summary.failures} == {f"{percent:02d}.{name}" for percent in sizes}


def test_odd_but_legal_files_are_what_they_would_be_without(tmp_path):
    odd, plain = tmp_path / "odd", tmp_path / "plain"
    odd.mkdir()
    plain.mkdir()
    kinds = odd_but_legal(tmp_path)
    for name, (content, same) in kinds.items():
        (odd / name).write_bytes(content)
        (plain / name).write_bytes(same)
    assert convert(odd, tmp_path / "odd.h5").failures == ()
    assert convert(plain, tmp_path / "plain.h5").failures == ()
    with open_store(tmp_path / "odd.h5") as left, open_store(tmp_path / "plain.h5") as right:
        assert set(left) == set(right) == set(kinds)
        differing = [key for key in left if left[key].tobytes() != right[key].tobytes()]
    assert differing == []


def test_ogg_files_in_one_are_all_converted(tmp_path):
    content, samples = chained_ogg(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.ogg").write_bytes(content)
    write(tmp_path / "in" / "b.wav", samples[:, None], RATE, subtype="FLOAT")
    assert convert(tmp_path / "in", tmp_path / "o.h5").failures == ()
    with open_store(tmp_path / "o.h5") as store:
        np.testing.assert_array_equal(store["a.ogg"], store["b.wav"])


def test_no_good_file_of_hundreds_of_kinds_is_refused(tmp_path):
    n_files = len(good_kinds())
    assert write_good(tmp_path / "in", n_files) == n_files > 500
    summary = convert(tmp_path / "in", tmp_path / "o.h5")
    assert summary.failures == ()
    assert (summary.n_converted, summary.n_skipped) == (n_files, 0)


def test_twins_of_all_kinds_are_items_of_their_own(tmp_path):
    folder = tmp_path / "in"
    names = [
        *("caf\u00e9.wav", "cafe\u0301.wav", "A.wav", "a.wav", "a.WAV", "a .wav", " a.wav"),
        *("a\nb.wav", "a\tb.wav", "..a.wav", "-a.wav", "a#ch0.wav", "%41.wav", "%.wav"),
        *("\udcff.wav", "%FF.wav", "\u202ea.wav", "a\\b.wav", "\u00e9" * 125 + ".wav"),
    ]
    for seed, name in enumerate(names):
        write(folder / name, noise(4000, seed=seed))
    summary = convert(folder, tmp_path / "o.h5")
    assert (summary.n_converted, summary.n_failed) == (len(names), 0)
    with open_store(tmp_path / "o.h5") as store:
        assert len({store[key].tobytes() for key in store}) == len(names)
        assert not any("\n\n" in key or "/" in key for key in store)
