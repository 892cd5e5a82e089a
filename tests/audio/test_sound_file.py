import errno
import gc
import os
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from specctl.audio import sound_file
from specctl.audio.decode import open_audio
from specctl.audio.sound_file import ForwardSoundFile
from specctl.errors import AudioError
from tests.audio.conftest import RECIPES, noise, read, write


def decode(path):
    with open_audio(str(path)) as reader:
        return np.concatenate([block.copy() for block in reader.blocks()])


@pytest.fixture
def two_songs(tmp_path):
    """MP3 files put one behind another, which specctl gives to libsndfile in two pieces."""
    songs = [write(tmp_path / f"{seed}.mp3", noise(48_000, 1, seed), 16_000) for seed in (1, 2)]
    (tmp_path / "both.mp3").write_bytes(b"".join(song.read_bytes() for song in songs))
    return tmp_path / "both.mp3"


@pytest.mark.parametrize("n_bytes", [1, 7, 4_096])
@pytest.mark.parametrize("name", RECIPES)
def test_samples_do_not_depend_on_the_window(originals, monkeypatch, name, n_bytes):
    expected = read(originals[name])
    monkeypatch.setattr(sound_file, "WINDOW", n_bytes)
    np.testing.assert_array_equal(decode(originals[name]), expected)


@pytest.mark.parametrize("name", RECIPES)
def test_a_soundfile_that_opens_files_in_another_way_will_do(originals, monkeypatch, name):
    expected = read(originals[name])
    monkeypatch.delattr(ForwardSoundFile, "_open")
    np.testing.assert_array_equal(decode(originals[name]), expected)


def test_mp3_is_read_in_few_large_steps(tmp_path, monkeypatch):
    path, asked = write(tmp_path / "a.mp3", noise(20 * 16_000, 2), 16_000), []
    preadv = os.preadv

    def counted(fd, buffers, offset):
        asked.append(len(buffers[0]))
        return preadv(fd, buffers, offset)

    with open_audio(str(path)) as reader:
        monkeypatch.setattr(os, "preadv", counted)
        n_samples = sum(len(block) for block in reader.blocks())
    assert n_samples == len(read(path))
    # libmpg123 asks thousands of times
    assert 0 < len(asked) <= path.stat().st_size // 2**16 + 2


@pytest.mark.parametrize("name", ["wav-pcm16", "flac", "ogg-vorbis", "ogg-opus", "mp3-cbr", "two"])
@pytest.mark.parametrize(
    ("error", "seen", "reason"),
    [
        (lambda: OSError(errno.EIO, "io"), AudioError, r"input/output error( \([0-9a-z. ]+ s\))?"),
        (MemoryError, AudioError, r"not enough memory( \([0-9a-z. ]+ s\))?"),
        (KeyboardInterrupt, KeyboardInterrupt, ""),
    ],
    ids=["EIO", "MemoryError", "KeyboardInterrupt"],
)
def test_a_file_that_cannot_be_read_to_its_end_says_why(
    originals, two_songs, monkeypatch, capfd, name, error, seen, reason
):
    path = two_songs if name == "two" else originals[name]
    preadv, first_bad = os.preadv, path.stat().st_size * 2 // 3

    def fail(fd, buffers, offset):
        if offset + len(buffers[0]) <= first_bad:
            return preadv(fd, buffers, offset)
        raise error()

    monkeypatch.setattr(sound_file, "WINDOW", 512)
    monkeypatch.setattr("specctl.audio.decode.MIN_BLOCK_LENGTH", 4_096)
    monkeypatch.setattr("specctl.audio.decode.BLOCK_SIZE", 4_096)
    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(seen, match=f"^{reason}$"):
        decode(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["wav-float", "flac", "ogg-vorbis", "ogg-opus", "mp3-cbr", "two"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_ctrl_c_while_libsndfile_is_at_work_is_not_lost(
    originals, two_songs, monkeypatch, capfd, name, error
):
    """Python raises it where libsndfile calls back, before the first line of what it calls."""
    n_calls = []

    def interrupt(frame, event, _):
        if event == "call" and frame.f_code is sound_file._Window.read_on.__code__:
            n_calls.append(1)
            if len(n_calls) == 2:
                raise error

    monkeypatch.setattr(sound_file, "WINDOW", 512)
    sys.setprofile(interrupt)
    try:
        with pytest.raises(AudioError if error is MemoryError else error) as caught:
            decode(two_songs if name == "two" else originals[name])
    finally:
        sys.setprofile(None)
    if error is MemoryError:
        assert str(caught.value).startswith("not enough memory")
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_let_go_is_closed_at_once(originals):
    def alive():
        return [id(each) for each in gc.get_objects() if type(each) is ForwardSoundFile]

    gc.collect()
    before = alive()
    gc.disable()
    try:
        for name in ("ogg-vorbis", "mp3-cbr"):
            with open_audio(str(originals[name])) as reader:
                next(reader.blocks())
            with open_audio(str(originals[name])) as reader:
                del reader
        assert alive() == before
    finally:
        gc.enable()


def test_threads_read_side_by_side(originals, tmp_path):
    (tmp_path / "no.wav").write_bytes(b"RIFF" + struct.pack("<I", 30) + b"WAVEfmt " + bytes(26))
    expected = {name: read(path) for name, path in originals.items()}

    def check(name):
        if name is None:
            with pytest.raises(AudioError, match="Short 'fmt ' chunk"):
                decode(tmp_path / "no.wav")
        else:
            np.testing.assert_array_equal(decode(originals[name]), expected[name])

    # as in a new process: several threads may compile, and all but one of the results are dropped
    sound_file._functions.cache_clear()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(check, [*RECIPES, None] * 5))
