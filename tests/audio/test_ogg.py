import numpy as np
import pytest

from specctl.audio.decode import open_audio
from specctl.audio.ogg import _granule_rate, _pages
from specctl.audio.source import SourceFile
from specctl.errors import AudioError
from tests.audio.conftest import noise, read, write
from tests.audio.test_decode import decode

NAMES = ["ogg-vorbis", "ogg-opus"]


def pages_of(path):
    with SourceFile(str(path)) as source:
        pages = list(_pages(source))
    assert all(is_sound for _, is_sound in pages)
    return [page for page, _ in pages]


@pytest.mark.parametrize("name", NAMES)
def test_follows_each_page_to_the_end(originals, name):
    pages = pages_of(originals[name])
    assert pages[0].start == 0 and pages[-1].stop == originals[name].stat().st_size
    assert [page.sequence for page in pages] == list(range(len(pages)))


def test_pages_do_not_depend_on_the_window(tmp_path, monkeypatch):
    path = write(tmp_path / "a.ogg", noise(30 * 44_100, 2), rate=44_100)
    whole = pages_of(path)
    for window in (70_000, path.stat().st_size * 2 // 3):
        monkeypatch.setattr("specctl.audio.ogg.WINDOW", window)
        assert pages_of(path) == whole


@pytest.mark.parametrize("name", NAMES)
def test_refuses_a_file_with_a_page_missing(copy_of, name):
    path = copy_of(name)
    page = pages_of(path)[-2]
    data = path.read_bytes()
    path.write_bytes(data[: page.start] + data[page.stop :])
    with pytest.raises(AudioError, match=r"^damaged or missing data at \d\.\d{3} s$"):
        open_audio(str(path))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["zeros", "removed", "flipped"])
def test_refuses_a_file_with_a_hole(copy_of, name, damage):
    path = copy_of(name)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    match damage:
        case "zeros":
            data[middle : middle + 1_000] = bytes(1_000)
        case "removed":
            del data[middle : middle + 1_000]
        case "flipped":
            data[middle] ^= 1
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"^(damaged or missing|unexpected end of) data at "):
        open_audio(str(path))


@pytest.mark.parametrize("name", NAMES)
def test_decodes_all_of_several_chained_streams(copy_of, tmp_path, name):
    path = copy_of(name)
    other = path.with_name("other" + path.suffix)
    write(other, noise(20_000, 2, seed=1), format="OGG", subtype=name[4:].upper())
    expected = np.concatenate([decode(path), decode(other), decode(path)])
    path.write_bytes(path.read_bytes() + other.read_bytes() + path.read_bytes())
    np.testing.assert_array_equal(decode(path), expected)
    with open_audio(str(path)) as reader:
        assert reader.info.n_samples == len(expected)


def test_a_mono_stream_chained_to_a_stereo_one_goes_to_both_channels(tmp_path):
    mono = write(tmp_path / "m.ogg", noise(9_000, 1))
    stereo = write(tmp_path / "s.ogg", noise(9_000, 2))
    expected = np.concatenate([np.repeat(decode(mono), 2, axis=1), decode(stereo)])
    path = tmp_path / "a.ogg"
    path.write_bytes(mono.read_bytes() + stereo.read_bytes())
    np.testing.assert_array_equal(decode(path), expected)


@pytest.mark.parametrize("change", ["rate", "channels"])
def test_refuses_chained_streams_that_do_not_fit_together(tmp_path, change):
    first = write(tmp_path / "a.ogg", noise(9_000, 2))
    rate, n_channels = (22_050, 2) if change == "rate" else (16_000, 3)
    second = write(tmp_path / "b.ogg", noise(9_000, n_channels), rate=rate)
    first.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(AudioError, match=r"^sample rate or channels change within the file$"):
        open_audio(str(first))


def test_refuses_chained_streams_of_which_the_second_is_cut(copy_of):
    path = copy_of("ogg-vorbis")
    data = path.read_bytes()
    path.write_bytes(data + data[:-10])
    with pytest.raises(AudioError, match=r"^unexpected end of data at "):
        open_audio(str(path))


def test_reads_the_audio_of_a_multiplexed_file(tmp_path):
    first = write(tmp_path / "1.ogg", noise(20_000, 1, seed=1))
    second = write(tmp_path / "2.ogg", noise(20_000, 1, seed=2))
    expected = read(first)
    parts = []
    for path in (first, second):
        data, pages = path.read_bytes(), pages_of(path)
        parts.append([data[page.start : page.stop] for page in pages])
    mixed = [part for parts_at in zip(*parts, strict=False) for part in parts_at]
    rest = min(map(len, parts))
    mixed += parts[0][rest:] + parts[1][rest:]
    path = tmp_path / "mixed.ogg"
    path.write_bytes(b"".join(mixed))
    np.testing.assert_array_equal(decode(path), expected)


def test_ignores_tags_behind_the_last_page(copy_of):
    path = copy_of("ogg-vorbis")
    expected = decode(path)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    np.testing.assert_array_equal(decode(path), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_that_is_not_marked_as_the_last_leaves_a_doubt(copy_of, name):
    path = copy_of(name)
    with open_audio(str(path)) as reader:
        assert reader.cut == ""
    path.write_bytes(path.read_bytes()[: pages_of(path)[-1].start])
    with open_audio(str(path)) as reader:
        assert reader.cut == "perhaps cut short: no page is marked as the last"
        assert 0 < sum(map(len, reader.blocks())) < 48_077


@pytest.mark.parametrize(
    ("head", "rate"),
    [
        (b"\x01vorbis" + bytes(5) + (44_100).to_bytes(4, "little"), 44_100),
        (b"OpusHead" + bytes(11), 48_000),
        (b"\x7fFLAC\x01\0\0\1fLaC" + bytes(14) + (96_000 << 4).to_bytes(3, "big"), 96_000),
        (b"Speex   " + bytes(28) + (8_000).to_bytes(4, "little"), 8_000),
        (b"\x80theora", 0),
    ],
    ids=["vorbis", "opus", "flac", "speex", "video"],
)
def test_knows_how_fast_the_positions_of_a_codec_run(head, rate):
    assert _granule_rate(head) == rate
