"""What is read of a header without a decoder is what the decoder says, or nothing."""

import struct

import pytest

from specctl.audio.headers import FLAC_ENCODINGS, header_info
from specctl.audio.probe import choose_decoder, probe
from specctl.audio.source import SourceFile
from specctl.audio.wave import ENCODINGS
from specctl.errors import AudioError
from tests.audio.conftest import RATE, noise, write
from tests.convert.bad_audio import ogg_crc, ogg_pages, with_bytes

USUAL = [
    *("wav-pcm8", "wav-pcm16", "wav-pcm24", "wav-pcm32", "wavex"),
    *("flac", "ogg-vorbis", "mp3-vbr"),
]
N_BYTES = {"mp3-vbr": 192, "wavex": 96}
"""At the start of a file, each of which is changed; 64 if nothing is said."""


def told(path):
    with SourceFile(str(path)) as source:
        return header_info(source)


def decoders(path):
    """What the decoder says, None if it refuses the file."""
    try:
        with SourceFile(str(path)) as source:
            return choose_decoder(source, header_only=True).decoder.info
    except AudioError:
        return None


@pytest.mark.parametrize("name", USUAL)
def test_needs_no_decoder_for_a_file_of_the_usual_kind(originals, name):
    assert told(originals[name]) == decoders(originals[name])
    assert told(originals[name]) is not None


@pytest.mark.parametrize(("tag", "bits"), ENCODINGS)
def test_knows_each_encoding_of_wav(tmp_path, tag, bits):
    """Also those that libsndfile itself writes with a chunk before the data."""
    width = 2 * bits // 8
    form = struct.pack("<HHIIHH", tag, 2, RATE, RATE * width, width, bits)
    data = b"data" + struct.pack("<I", 100 * width) + bytes(100 * width)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + data
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert told(path) == decoders(path)
    assert told(path).n_samples == 100


@pytest.mark.parametrize("bits", FLAC_ENCODINGS)
def test_knows_each_width_of_flac(tmp_path, bits):
    subtype = FLAC_ENCODINGS[bits].upper()
    path = write(tmp_path / "a.flac", noise(RATE, 2), subtype=subtype)
    assert told(path) == decoders(path)
    assert told(path).n_samples == RATE


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 24_000, 32_000, 44_100])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_knows_the_length_of_mp3_without_its_gaps(tmp_path, rate, n_channels, mode):
    samples = noise(rate + rate // 7, n_channels)
    path = write(tmp_path / "a.mp3", samples, rate, bitrate_mode=mode)
    with_tag = tmp_path / "b.mp3"
    with_tag.write_bytes(b"ID3\4\0\0\0\0\1\0" + bytes(128) + path.read_bytes())
    assert told(path) == told(with_tag) == decoders(path) == decoders(with_tag)
    assert told(path).n_samples == len(samples)


@pytest.mark.parametrize("name", USUAL)
def test_a_damaged_header_never_says_what_the_decoder_does_not(originals, tmp_path, name):
    data = originals[name].read_bytes()
    path = tmp_path / originals[name].name
    n_told = 0
    n_bytes = N_BYTES.get(name, 64)
    for at in range(n_bytes):
        for value in {0, 1, 2, 127, 255, data[at] ^ 1, data[at] ^ 128} - {data[at]}:
            path.write_bytes(with_bytes(data, at, bytes([value])))
            info, expected = told(path), decoders(path)
            n_told += info is not None
            # what the decoder refuses is refused when the file is converted
            assert info is None or expected is None or info == expected, (at, value)
    assert n_told > n_bytes


def changed_ogg(data, change):
    return b"".join(ogg_crc(change(page)) for page in ogg_pages(data))


def later(page):
    """A page of a stream that was cut out of the middle of a longer one."""
    (granule,) = struct.unpack_from("<q", page, 6)
    return with_bytes(page, 6, struct.pack("<q", granule + 90_000 * (granule > 0)))


ODD = {
    "wav with a chunk before the data": (
        "wav-pcm16",
        lambda data: data[:36] + b"LIST" + struct.pack("<I", 4) + b"INFO" + data[36:],
    ),
    "wav that is cut": ("wav-pcm16", lambda data: data[:-1000]),
    "wav of unknown length": ("wav-pcm16", lambda data: with_bytes(data, 40, b"\xff" * 4)),
    "wav of no samples": ("wav-pcm16", lambda data: with_bytes(data, 40, bytes(4))),
    "wav of other sizes": ("wav-pcm16", lambda data: with_bytes(data, 32, b"\x03")),
    "wav that ends in its header": ("wav-pcm16", lambda data: data[:40]),
    "float wav": ("wav-float", bytes),
    "companded wav": ("wav-ulaw", bytes),
    "big-endian wav": ("wav-big-endian", bytes),
    "flac of unknown length": ("flac", lambda data: with_bytes(data, 22, bytes(4))),
    "aiff": ("aiff", bytes),
    "opus": ("ogg-opus", bytes),
    "vorbis from the middle": ("ogg-vorbis", lambda data: changed_ogg(data, later)),
    "vorbis with a tag behind": ("ogg-vorbis", lambda data: data + b"TAG" + bytes(125)),
    "vorbis that is cut": ("ogg-vorbis", lambda data: data[:-100]),
    "vorbis without sound": ("ogg-vorbis", lambda data: b"".join(ogg_pages(data)[:2])),
    "mp3 without a Xing header": ("mp3-vbr", lambda data: data.replace(b"Xing", b"Ping")),
    "mp3 with sound beside the Xing header": (
        "mp3-vbr",
        lambda data: with_bytes(data, data.find(b"Xing") - 1, b"\1"),
    ),
    "mp3 of no known encoder": (
        "mp3-vbr",
        lambda data: with_bytes(data, data.find(b"Xing") + 120, bytes(9)),
    ),
    "mp3 of no samples": (
        "mp3-vbr",
        lambda data: with_bytes(data, data.find(b"Xing") + 8, bytes(4)),
    ),
    "nothing": ("ogg-vorbis", lambda _: b"O"),
}


@pytest.mark.parametrize("odd", ODD)
def test_leaves_what_is_odd_to_the_decoder(originals, tmp_path, odd):
    name, change = ODD[odd]
    path = tmp_path / originals[name].name
    path.write_bytes(change(originals[name].read_bytes()))
    assert told(path) is None
    expected = decoders(path)
    if expected is None:
        with pytest.raises(AudioError):
            probe(str(path))
    else:
        assert probe(str(path)) == expected


def test_refuses_what_no_recording_has(tmp_path):
    path = write(tmp_path / "a.wav", noise(10, 1), rate=RATE)
    path.write_bytes(with_bytes(path.read_bytes(), 24, struct.pack("<I", 999)))
    assert told(path).sample_rate == 999
    with pytest.raises(AudioError, match="^sample rate 999 Hz is outside"):
        probe(str(path))
