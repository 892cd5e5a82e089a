"""The usual WAV files, read without libsndfile, give what libsndfile gives."""

import errno
import os
import struct

import numpy as np
import pytest
import soundfile

from specctl.audio.decode import open_audio
from specctl.audio.headers import header_info
from specctl.audio.probe import choose_decoder
from specctl.audio.source import SourceFile
from specctl.errors import AudioError
from tests.audio.conftest import RATE, noise, read, write
from tests.audio.test_decode import decode

SUBTYPES = {16: "PCM_16", 24: "PCM_24"}
MAKER = b"INFOISFT\x0e\0\0\0Lavf59.27.100\0"  # as FFmpeg writes it
PCM = b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"


@pytest.fixture
def without_libsndfile(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("libsndfile was asked")

    monkeypatch.setattr(soundfile.SoundFile, "__init__", fail)


def extension(bits, kind=PCM, size=22):
    return struct.pack("<HHI", size, bits, 0) + kind


def wave_file(path, codes, bits, before=b"", behind=b"", extended=b""):
    """Integers of shape (samples, channels) in a file with chunks before and behind them."""
    n_channels = codes.shape[1]
    data = codes.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()
    width = n_channels * bits // 8
    tag = 0xFFFE if extended else 1
    form = struct.pack("<HHIIHH", tag, n_channels, RATE, RATE * width, width, bits) + extended
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + before
    chunks += b"data" + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) + behind
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def every_code(bits):
    codes = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1), 1 if bits == 16 else 251)
    return np.append(codes, 2 ** (bits - 1) - 1)[:, None]


@pytest.mark.parametrize("bits", SUBTYPES)
def test_every_code_is_the_number_of_libsndfile(tmp_path, bits):
    path = wave_file(tmp_path / "a.wav", every_code(bits), bits)
    np.testing.assert_array_equal(decode(path), read(path))
    np.testing.assert_array_equal(decode(path)[[0, -1], 0], [-1, 1 - 2.0 ** (1 - bits)])


@pytest.mark.parametrize("bits", SUBTYPES)
@pytest.mark.parametrize("n_channels", [1, 2, 3, 64, 65, 200])
@pytest.mark.parametrize("n_samples", [1, 4_096, 150_001])
def test_any_length_and_channels_are_those_of_libsndfile(tmp_path, bits, n_channels, n_samples):
    n_samples = min(n_samples, 2**20 // n_channels)
    samples = noise(n_samples, n_channels)
    path = write(tmp_path / "a.wav", samples, subtype=SUBTYPES[bits])
    with open_audio(str(path)) as reader:
        blocks = [block.copy() for block in reader.blocks()]
        assert {len(block) for block in blocks[:-1]} <= {reader.block_length}
    np.testing.assert_array_equal(np.concatenate(blocks), read(path))


@pytest.mark.parametrize("bits", SUBTYPES)
@pytest.mark.parametrize("is_extended", [False, True], ids=["plain", "extensible"])
@pytest.mark.parametrize("maker", [b"", chunk(b"LIST", MAKER)], ids=["", "of FFmpeg"])
@pytest.mark.parametrize("is_counted", [False, True], ids=["", "counted"])
def test_needs_no_libsndfile(tmp_path, without_libsndfile, bits, is_extended, maker, is_counted):
    codes = every_code(bits)[::97]
    count = chunk(b"fact", struct.pack("<I", len(codes))) if is_counted else b""
    extended = extension(bits) if is_extended else b""
    path = wave_file(tmp_path / "a.wav", codes, bits, count + maker, extended=extended)
    np.testing.assert_array_equal(decode(path), codes.astype(np.float32) / 2 ** (bits - 1))


@pytest.mark.parametrize(
    ("before", "behind", "extended"),
    [
        (chunk(b"LIST", MAKER[:-4]), b"", b""),
        (chunk(b"LIST", MAKER.replace(b"ISFT", b"IXYZ")), b"", b""),
        (chunk(b"LIST", MAKER + bytes(100)), b"", b""),
        (chunk(b"LIST", b"INFO"), b"", b""),
        (chunk(b"LIST", b""), b"", b""),
        (chunk(b"bext", bytes(602)), b"", b""),
        (chunk(b"fact", struct.pack("<I", 998)), b"", b""),
        (chunk(b"fact", struct.pack("<II", 999, 0)), b"", b""),
        (b"", chunk(b"LIST", MAKER), b""),
        (b"", chunk(b"PEAK", bytes(4)), b""),
        (b"", chunk(b"data", bytes(4)), b""),
        (b"", b"\0\0\0", b""),
        (b"", b"", extension(12)),
        (b"", b"", extension(16, PCM[:-1] + b"?")),
        (b"", b"", extension(16, b"\6" + PCM[1:])),
        (b"", b"", extension(16, size=24)),
        (b"", b"", extension(16)[:2]),
    ],
)
def test_what_else_a_file_holds_is_for_libsndfile_to_judge(
    tmp_path, monkeypatch, before, behind, extended
):
    opened = []
    begin = soundfile.SoundFile.__init__
    monkeypatch.setattr(
        soundfile.SoundFile, "__init__", lambda *args, **kw: opened.append(1) or begin(*args, **kw)
    )
    path = wave_file(tmp_path / "a.wav", every_code(16)[:999], 16, before, behind, extended)
    with SourceFile(str(path)) as source:
        told = header_info(source)
    try:
        expected = read(path)
    except soundfile.LibsndfileError:
        expected = None
    opened.clear()
    try:
        np.testing.assert_array_equal(decode(path), expected)
        assert told is None or told.n_samples == len(expected)
    except AudioError as error:
        assert "the decoder says" in str(error) or "contradicts" in str(error)
    assert opened


@pytest.mark.parametrize("n_lost", [1, 2, 500])
def test_a_file_that_shrinks_is_no_shorter_recording(tmp_path, n_lost):
    path = write(tmp_path / "a.wav", noise(3 * RATE, 1), subtype="PCM_16")
    with open_audio(str(path), allow_truncated=True) as reader:
        os.truncate(path, path.stat().st_size - n_lost)
        with pytest.raises(AudioError, match="^changed while it was read$"):
            list(reader.blocks())


def test_a_disk_that_fails_is_the_systems_word(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(2**18 + 1, 1), subtype="PCM_24")
    preadv = os.preadv

    def failing(descriptor, views, offset):
        if offset > 700_000:
            raise OSError(errno.EIO, "disk")
        return preadv(descriptor, views, offset)

    monkeypatch.setattr(os, "preadv", failing)
    for allow_truncated in (False, True):
        with open_audio(str(path), allow_truncated=allow_truncated) as reader:
            reason = rf"^input/output error \(after {2**18 / RATE:.3f} s\)$"
            with pytest.raises(AudioError, match=reason):
                list(reader.blocks())


def test_short_reads_are_continued(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(2 * RATE, 2), subtype="PCM_24")
    expected = read(path)
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: preadv(fd, [views[0][:1001]], at))
    np.testing.assert_array_equal(decode(path), expected)


def test_a_rate_that_cannot_be_is_named(tmp_path):
    path = write(tmp_path / "a.wav", noise(100, 1), subtype="PCM_16")
    whole = bytearray(path.read_bytes())
    whole[24:28] = bytes(4)
    path.write_bytes(whole)
    with SourceFile(str(path)) as source, pytest.raises(AudioError, match="rate 0 Hz is outside"):
        choose_decoder(source)
