"""What can be decoded of a file that is cut short, where that is allowed."""

import errno
import os

import numpy as np
import pytest

from specctl.audio.decode import open_audio
from specctl.audio.soundfile_backend import SoundfileDecoder
from specctl.errors import AudioError
from tests.audio.conftest import CUT_IS_SEEN, N_SAMPLES, RATE, noise, write
from tests.audio.test_decode import decode, with_flac_length

LOST_AT_MOST = 1.1
"""Seconds: the longest that a page of Ogg, an MPEG frame or a FLAC frame of these files lasts."""


def decode_part(path):
    """All samples that there are, and why there are no more."""
    with open_audio(str(path), allow_truncated=True) as reader:
        samples = np.concatenate([block.copy() for block in reader.blocks()])
        return samples, reader.cut


@pytest.mark.parametrize("name", CUT_IS_SEEN)
@pytest.mark.parametrize("percent", [50, 90])
def test_gives_the_beginning_of_the_whole_file(copy_of, name, percent):
    path = copy_of(name)
    whole = decode(path)
    assert decode_part(path)[1] == ""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * percent // 100])
    samples, cut = decode_part(path)
    assert cut.startswith("unexpected end of data at ")
    # the noise grows louder: bytes are no measure of time where a codec saves some
    assert len(samples) > (0.9 * percent / 100) * N_SAMPLES - LOST_AT_MOST * RATE
    assert len(samples) < N_SAMPLES
    n_equal = len(samples)
    if name.startswith("mp3"):
        # the last frame lacks the next one, with which it overlaps
        n_equal -= 2 * 1152
    np.testing.assert_array_equal(samples[:n_equal], whole[:n_equal])
    with pytest.raises(AudioError):
        decode(path)


def test_gives_every_whole_frame_of_a_flac_file(tmp_path):
    samples = noise(20 * RATE + 5, 1)
    path = write(tmp_path / "a.flac", samples)
    whole, data = decode(path), path.read_bytes()
    for declared in (len(samples), 0):
        with_flac_length(path, declared)
        path.write_bytes(path.read_bytes()[: len(data) * 2 // 3])
        part, cut = decode_part(path)
        # libFLAC makes frames of 4,096 samples
        assert len(part) % 4096 == 0
        assert cut.startswith(f"unexpected end of data at {len(part) / RATE:.3f} s")
        np.testing.assert_array_equal(part, whole[: len(part)])
        path.write_bytes(data)


def test_decodes_the_same_each_time(copy_of):
    path = copy_of("flac")
    path.write_bytes(path.read_bytes()[:-500])
    with open_audio(str(path), allow_truncated=True) as reader:
        first, second = (
            np.concatenate([block.copy() for block in reader.blocks()]) for _ in range(2)
        )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["flac", "ogg-vorbis", "mp3-cbr"])
def test_a_hole_is_no_cut(tmp_path, name):
    ending = name.partition("-")[0]
    path = write(tmp_path / f"a.{ending}", noise(20 * RATE, 1))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 5000] = bytes(5000)
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"damaged or missing|flac decoder"):
        decode_part(path)


@pytest.mark.parametrize("n_bytes", [44, 45, 60])
def test_a_cut_that_leaves_no_sample_is_an_error(copy_of, n_bytes):
    path = copy_of("flac" if n_bytes == 60 else "wav-pcm16")
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(AudioError):
        decode_part(path)


def test_samples_that_are_no_numbers_stay_an_error(tmp_path):
    samples = noise(RATE, 1)
    samples[100] = np.nan
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(AudioError, match="NaN"):
        decode_part(path)


def test_a_file_that_changes_while_it_is_read_stays_an_error(copy_of):
    path = copy_of("wav-pcm16")
    path.write_bytes(path.read_bytes()[:-400])
    with open_audio(str(path), allow_truncated=True) as reader:
        blocks = reader.blocks()
        next(blocks)
        path.write_bytes(path.read_bytes()[:-400])
        with pytest.raises(AudioError, match="changed while it was read"):
            list(blocks)


@pytest.mark.parametrize(
    ("name", "at_rest"),
    [("flac", False), ("flac", True), ("ogg-vorbis", False), ("mp3-cbr", False)],
)
def test_what_cannot_be_read_is_no_cut(tmp_path, monkeypatch, name, at_rest):
    """Neither in the first pass nor where the last samples before a failure are looked for."""
    path = write(tmp_path / f"a.{name.partition('-')[0]}", noise(60 * RATE, 1), RATE)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 10])
    preadv, rest, first_bad = os.preadv, SoundfileDecoder.rest, path.stat().st_size // 2

    def fail(fd, buffers, offset):
        if is_bad and offset > first_bad:
            raise raised
        return preadv(fd, buffers, offset)

    def failing_rest(*arguments):
        nonlocal is_bad
        is_bad = True
        return rest(*arguments)

    for error, words in [
        (OSError(errno.EIO, "io"), "input/output error"),
        (MemoryError(), "not enough memory"),
    ]:
        raised, is_bad = error, not at_rest
        with open_audio(str(path), allow_truncated=True) as reader, monkeypatch.context() as patch:
            patch.setattr(os, "preadv", fail)
            patch.setattr(SoundfileDecoder, "rest", failing_rest)
            with pytest.raises(AudioError, match=f"^{words} [(]after"):
                list(reader.blocks())
