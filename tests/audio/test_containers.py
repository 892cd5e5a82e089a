import struct

import numpy as np
import pytest
import soundfile

from specctl.audio import reasons
from specctl.audio.containers import UNKNOWN_SIZES, _ebml_number, walker
from specctl.audio.decode import open_audio
from specctl.audio.probe import probe
from specctl.audio.source import SourceFile
from specctl.errors import AudioError
from tests.audio.conftest import N_SAMPLES, noise, write
from tests.audio.test_decode import decode


def patched(path, at, value):
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


def find(path, name):
    return path.read_bytes().index(name)


@pytest.mark.parametrize("size", sorted(UNKNOWN_SIZES), ids=hex)
@pytest.mark.parametrize("name", ["wav-pcm16", "wav-pcm24", "wav-float", "wav-big-endian"])
def test_a_streamed_wav_is_read_to_the_end_of_the_file(copy_of, name, size):
    path = copy_of(name)
    expected = decode(path)
    order = ">" if name == "wav-big-endian" else "<"
    patched(path, find(path, b"data") + 4, struct.pack(order + "I", size))
    patched(path, 4, struct.pack(order + "I", size))
    np.testing.assert_array_equal(decode(path), expected)


@pytest.mark.parametrize(
    ("name", "chunk", "skip", "size"),
    [
        ("aiff", b"SSND", 4, b"\0" * 4),
        ("aiff", b"SSND", 4, b"\xff" * 4),
        ("au", b".snd", 8, b"\0" * 4),
        ("au", b".snd", 8, b"\xff" * 4),
        ("caf", b"data", 4, b"\xff" * 8),
        ("w64", b"data", 16, b"\0" * 8),
        ("w64", b"data", 16, b"\xff" * 8),
        ("rf64", b"ds64", 16, b"\0" * 8),
    ],
    ids=["aiff-0", "aiff-1", "au-0", "au-1", "caf", "w64-0", "w64-1", "rf64"],
)
def test_a_streamed_file_is_read_to_its_end(copy_of, name, chunk, skip, size):
    path = copy_of(name)
    expected = decode(path)
    patched(path, find(path, chunk) + skip, size)
    if name == "rf64":
        patched(path, find(path, b"ds64") + 8, bytes(8))
    np.testing.assert_array_equal(decode(path), expected)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 2**32 - 100], ids=hex)
def test_a_header_without_samples_is_refused(copy_of, size):
    path = copy_of("wav-pcm16")
    at = find(path, b"data") + 4
    path.write_bytes(path.read_bytes()[:at] + struct.pack("<I", size))
    with pytest.raises(AudioError, match=r"^no samples$|^unexpected end of data at 0\.000 s$"):
        open_audio(str(path))


def test_a_finished_wav_without_samples_may_have_chunks_behind(tmp_path):
    path = tmp_path / "a.wav"
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16)
    body = b"WAVE" + fmt + b"data" + bytes(4) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with pytest.raises(AudioError, match=r"^no samples$"):
        open_audio(str(path))


@pytest.mark.parametrize("tail", [b"LIST\4\0\0\0INFO", b"junk", bytes(5_000)])
def test_what_follows_the_samples_does_not_matter(copy_of, tail):
    path = copy_of("wav-pcm16")
    path.write_bytes(path.read_bytes() + tail)
    assert len(decode(path)) == N_SAMPLES


@pytest.mark.parametrize("size", [1, 2, 70_001], ids=["odd", "even", "long"])
def test_chunks_before_the_samples_do_not_matter(copy_of, size):
    path = copy_of("wav-pcm16")
    data = path.read_bytes()
    chunk = b"JUNK" + struct.pack("<I", size) + bytes(size + size % 2)
    path.write_bytes(data[:12] + chunk + data[12:])
    assert len(decode(path)) == N_SAMPLES


def test_a_missing_pad_byte_at_the_end_does_not_matter(tmp_path):
    path = write(tmp_path / "a.wav", noise(1_001, 1), subtype="PCM_U8")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"data") + 8 + 1_001])
    assert len(decode(path)) == 1_001


def test_refuses_a_bit_depth_that_does_not_fit_the_block_size(copy_of):
    path = copy_of("wav-pcm16")
    patched(path, find(path, b"fmt ") + 22, struct.pack("<H", 7))
    with pytest.raises(
        AudioError, match=r"^the header contradicts itself: 48077 samples declared"
    ):
        open_audio(str(path))


def test_refuses_24_bits_in_blocks_of_32_which_libsndfile_takes_for_24(tmp_path):
    samples = np.arange(-50, 50, dtype="<i4") << 8
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 32_000, 4, 24)
    body = b"WAVE" + fmt + b"data" + struct.pack("<I", 400) + samples.tobytes()
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    with pytest.raises(AudioError, match=r"^the header contradicts itself: 100 samples declared"):
        open_audio(str(tmp_path / "a.wav"))


def test_a_wav_with_a_codec_that_nobody_knows_is_refused(copy_of):
    path = copy_of("wav-pcm16")
    patched(path, find(path, b"fmt ") + 8, struct.pack("<H", 0x674F))
    with pytest.raises(AudioError, match=r"^the decoder says: "):
        open_audio(str(path))


def test_a_chunk_that_points_at_itself_ends_the_walk(tmp_path):
    path = tmp_path / "a.w64"
    soundfile.write(path, noise(10, 1), 8_000, format="W64")
    patched(path, 40 + 16, bytes(8))
    with pytest.raises(AudioError):
        open_audio(str(path))


@pytest.mark.parametrize("size", [2**33, 2**62, -5], ids=["8GB", "exabytes", "negative"])
def test_a_caf_that_lies_about_its_size_is_refused(copy_of, size):
    path = copy_of("caf")
    patched(path, find(path, b"data") + 4, struct.pack(">q", size))
    with pytest.raises(AudioError):
        open_audio(str(path))


def box(kind, body, *, size=None):
    return struct.pack(">I4s", len(body) + 8 if size is None else size, kind) + body


EBML = b"\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01"
SEGMENT = b"\x18\x53\x80\x67"
OBJECT = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


@pytest.mark.parametrize(
    ("data", "is_cut"),
    [
        (box(b"ftyp", b"M4A ") + box(b"mdat", bytes(90)), False),
        (box(b"ftyp", b"M4A ") + box(b"mdat", bytes(90))[:-1], True),
        (box(b"ftyp", b"M4A ") + box(b"mdat", bytes(90), size=0), False),
        (box(b"ftyp", b"M4A ") + box(b"mdat", struct.pack(">Q", 106) + bytes(90), size=1), False),
        (box(b"ftyp", b"M4A ") + box(b"mdat", struct.pack(">Q", 107) + bytes(90), size=1), True),
        (box(b"ftyp", b"M4A ") + bytes(20), False),
        (EBML + SEGMENT + b"\x8a" + bytes(10), False),
        (EBML + SEGMENT + b"\x8a" + bytes(9), True),
        (EBML + SEGMENT + b"\x01" + b"\xff" * 7 + bytes(9), False),
        (EBML, False),
        (OBJECT + struct.pack("<Q", 30) + bytes(6), False),
        (OBJECT + struct.pack("<Q", 30) + bytes(5), True),
        (OBJECT + struct.pack("<Q", 0) + bytes(50), False),
    ],
    ids=[
        "mp4", "mp4-cut", "mp4-open", "mp4-64", "mp4-64-cut", "mp4-junk",
        "mka", "mka-cut", "mka-open", "mka-head", "asf", "asf-cut", "asf-zero",
    ],
)  # fmt: skip
def test_sees_by_the_outermost_sizes_whether_a_file_is_cut(tmp_path, data, is_cut):
    (tmp_path / "a").write_bytes(data)
    with SourceFile(str(tmp_path / "a")) as source:
        assert walker(data[:16])(source).is_cut == is_cut


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"\x81", (1, 1)), (b"\x40\x02", (2, 2)), (b"\x01" + bytes(6) + b"\5", (5, 8)),
     (b"\0", (0, 0)), (b"", (0, 0))],
    ids=["one", "two", "eight", "invalid", "empty"],
)  # fmt: skip
def test_reads_numbers_of_matroska(data, expected):
    assert _ebml_number(data, 0) == expected


def test_has_no_walk_for_what_it_does_not_know():
    assert walker(b"OggS" + bytes(12)) is None
    assert walker(b"") is None


@pytest.mark.parametrize(
    "declared", [5 * 2**30 % 2**32, 0, 2**32 - 1], ids=["wrapped", "0", "full"]
)
def test_more_than_32_bits_can_say_is_read_to_its_end(tmp_path, declared):
    path, n_bytes = tmp_path / "long.wav", 5 * 2**30
    header = write(path, noise(16, 1), 384_000, subtype="PCM_16").read_bytes()[:40]
    with path.open("wb") as file:
        file.write(header + struct.pack("<I", declared))
        file.truncate(44 + n_bytes)
    with open_audio(str(path)) as reader:
        assert (reader.info.n_samples, reader.cut) == (n_bytes // 2, "")
        assert len(next(reader.blocks())) == reader.block_length
    assert probe(str(path)).n_samples == n_bytes // 2


@pytest.mark.parametrize("behind", ["samples", "zeros", "a chunk", "a tag", "little"])
def test_samples_behind_the_samples_are_told_of(tmp_path, behind):
    data = write(tmp_path / "a.wav", noise(1000, 1), 16_000, subtype="PCM_16").read_bytes()
    more = np.random.default_rng(0).bytes(2**17)
    more = {
        "samples": b"\xfe\x01" + more,
        "zeros": bytes(len(more)),
        "a chunk": b"junk" + struct.pack("<I", len(more)) + more,
        "a tag": b"ID3\x04" + more,
        "little": b"\xfe" + more[:1000],
    }[behind]
    (tmp_path / "a.wav").write_bytes(data + more)
    with open_audio(str(tmp_path / "a.wav")) as reader:
        assert sum(map(len, reader.blocks())) == 1000
        assert reader.cut == (reasons.MORE_BEHIND if behind == "samples" else "")


@pytest.mark.parametrize("kind", ["RF64", "WAV"])
def test_bw64_is_read_as_what_it_is(tmp_path, kind):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3000, 2), 16_000, "PCM_24", format=kind)
    expected = decode(path)
    assert path.read_bytes()[:4] == (b"RIFF" if kind == "WAV" else b"RF64")
    np.testing.assert_array_equal(decode(patched(path, 0, b"BW64")), expected)
