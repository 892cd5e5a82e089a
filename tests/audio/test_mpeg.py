import numpy as np
import pytest
import soundfile

from specctl.audio.decode import open_audio
from specctl.audio.mpeg_frames import parse_frame
from specctl.audio.probe import probe
from specctl.errors import AudioError
from tests.audio.conftest import noise, read, write
from tests.audio.test_decode import decode


def without_header(path):
    """Take the frame with the Xing header off."""
    data = path.read_bytes()
    path.write_bytes(data[parse_frame(data[:4]).length :])
    return path


@pytest.mark.parametrize("rate", [8_000, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_decodes_all_frames_of_a_file_without_header(tmp_path, rate, n_channels):
    samples = noise(2 * rate, n_channels)
    # quiet first makes libsndfile guess far too much, loud first far too little
    for part, mode in [
        (samples, "VARIABLE"),
        (samples[::-1], "VARIABLE"),
        (samples[: rate // 2], "CONSTANT"),
    ]:
        path = write(tmp_path / "a.mp3", part, rate=rate, bitrate_mode=mode)
        without_header(path)
        known = read(path)
        got = decode(path)
        assert len(got) >= len(part)
        assert len(got) % (1_152 if rate >= 32_000 else 576) == 0
        n_common = min(len(known), len(got))
        np.testing.assert_array_equal(got[:n_common], known[:n_common])


@pytest.mark.parametrize("rate", [22_050, 24_000])
def test_decodes_frames_that_are_too_short_for_a_header(tmp_path, rate):
    # eight kilobits a second
    options = {"bitrate_mode": "CONSTANT", "compression_level": 0.99}
    path = write(tmp_path / "a.mp3", noise(3 * rate, 1), rate=rate, **options)
    known, got = read(path), decode(path)
    assert len(got) >= len(known)
    np.testing.assert_array_equal(got[: len(known)], known)


def test_a_loud_beginning_does_not_make_a_file_short(tmp_path):
    path = write(tmp_path / "a.mp3", noise(160_000, 1)[::-1], bitrate_mode="VARIABLE")
    without_header(path)
    assert soundfile.info(path).frames < 150_000
    assert len(decode(path)) >= 160_000


def test_decodes_all_of_several_files_in_one(copy_of, tmp_path):
    path = copy_of("mp3-vbr")
    other = write(tmp_path / "other.mp3", noise(30_000, 2, seed=3))
    expected = np.concatenate([decode(path), decode(other)])
    for between in (b"", b"TAG" + bytes(125), b"ID3\x04\0\0\0\0\0\x20" + bytes(32)):
        joined = tmp_path / "joined.mp3"
        joined.write_bytes(path.read_bytes() + between + other.read_bytes())
        np.testing.assert_array_equal(decode(joined), expected)


@pytest.mark.parametrize(
    "junk",
    [bytes(5_000), b"\xff" * 3_000, b"no sound " * 500, b"ID3\x04\0\0\0\0\0\x20" + bytes(32)],
    ids=["zeros", "ones", "text", "tag"],
)
def test_finds_the_first_frame_behind_junk(copy_of, junk):
    path = copy_of("mp3-cbr")
    expected = decode(path)
    path.write_bytes(junk + path.read_bytes())
    np.testing.assert_array_equal(decode(path), expected)


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), bytes(4_000), b"APETAGEX" + bytes(24)])
def test_ignores_what_follows_the_last_frame(copy_of, tail):
    path = copy_of("mp3-vbr")
    expected = decode(path)
    path.write_bytes(path.read_bytes() + tail)
    np.testing.assert_array_equal(decode(path), expected)


def test_passes_a_frame_of_another_kind_in_the_middle(copy_of):
    path = copy_of("mp3-vbr")
    data = bytearray(path.read_bytes())
    length = parse_frame(bytes(data[:4])).length
    data[length + 1] ^= 0x08
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"^damaged or missing data at 0\.000 s$"):
        decode(path)
    without_header(path)
    assert len(decode(path)) > 40_000


@pytest.mark.parametrize("tag", [b"", b"TAG" + bytes(125)], ids=["bare", "tagged"])
def test_sees_a_last_frame_cut_short_without_any_header(copy_of, tag):
    path = without_header(copy_of("mp3-vbr"))
    path.write_bytes(path.read_bytes()[:-30] + tag)
    with pytest.raises(AudioError, match=r"^unexpected end of data at [23]\.\d{3} s$"):
        open_audio(str(path))


def test_sees_that_frames_are_missing_by_the_header(copy_of):
    path = copy_of("mp3-cbr")
    data = path.read_bytes()
    length = parse_frame(data[:4]).length
    path.write_bytes(data[: length * 20])
    with pytest.raises(AudioError, match=r"^unexpected end of data at "):
        open_audio(str(path))


def test_accepts_a_header_that_counts_itself(copy_of):
    path = copy_of("mp3-cbr")
    expected = decode(path)
    data = bytearray(path.read_bytes())
    at = max(data.find(b"Info"), data.find(b"Xing")) + 8
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + 1).to_bytes(4, "big")
    path.write_bytes(data)
    np.testing.assert_array_equal(decode(path), expected)


@pytest.mark.parametrize("name", ["mp3-cbr", "mp3-vbr"])
@pytest.mark.parametrize("has_count", [True, False])
@pytest.mark.parametrize(
    "tags",
    [
        b"ID3\x03\0\0\0\0\0\0",
        b"ID3\x04\0\x10\0\0\0\x20" + bytes(32) + b"3DI\x04\0\x10\0\0\0\x20",
        b"ID3\x03\0\0\0\0\0\x20" + bytes(32) + b"ID3\x04\0\0\0\0\0\0",
    ],
    ids=["empty", "footer", "second empty"],
)
def test_a_tag_without_content_or_with_a_footer_is_passed_over(copy_of, name, has_count, tags):
    """libsndfile finds no frame behind them, players do."""
    path = copy_of(name) if has_count else without_header(copy_of(name))
    expected = decode(path)
    path.write_bytes(tags + path.read_bytes())
    np.testing.assert_array_equal(decode(path), expected)
    assert probe(str(path)).sample_rate == soundfile.info(copy_of(name)).samplerate
