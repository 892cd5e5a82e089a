import hashlib
import os
import tracemalloc

import numpy as np
import pytest
import soundfile

from specctl.audio.decode import open_audio
from specctl.audio.source import SourceFile
from specctl.errors import AudioError
from tests.audio.conftest import CUT_IS_SEEN, N_SAMPLES, RATE, RECIPES, noise, read, write


def decode(path):
    with open_audio(str(path)) as reader:
        return np.concatenate([block.copy() for block in reader.blocks()])


@pytest.mark.parametrize("name", RECIPES)
def test_decodes_what_soundfile_decodes(originals, name):
    expected = read(originals[name])
    np.testing.assert_array_equal(decode(originals[name]), expected)


@pytest.mark.parametrize("name", RECIPES)
def test_starts_over_with_each_call(originals, name):
    with open_audio(str(originals[name])) as reader:
        first = [block.copy() for block in reader.blocks()]
        next(reader.blocks())
        second = [block.copy() for block in reader.blocks()]
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))


@pytest.mark.parametrize("n_channels", [1, 2, 3, 200, 1_024])
def test_gives_blocks_whose_length_follows_from_the_channels(tmp_path, n_channels):
    length = max(4_096, 2**18 // n_channels)
    samples = noise(2 * length + 5, n_channels)
    path = write(tmp_path / "a.wav", samples, rate=768_000, subtype="FLOAT")
    lengths = []
    with open_audio(str(path)) as reader:
        assert reader.block_length == length
        for block in reader.blocks():
            assert block.dtype == np.float32 and block.flags.c_contiguous
            start = sum(lengths)
            np.testing.assert_array_equal(block, samples[start : start + len(block)])
            lengths.append(len(block))
    assert lengths == [length, length, 5]


def test_tells_size_time_and_hash_of_the_source(originals):
    path = originals["ogg-vorbis"]
    with open_audio(str(path)) as reader:
        blocks = reader.blocks()
        next(blocks)
        assert reader.size == path.stat().st_size
        assert reader.mtime_ns == path.stat().st_mtime_ns
        assert len(reader.sha256()) == 64
        list(blocks)


@pytest.mark.parametrize("name", ["wav-pcm16", "flac", "ogg-vorbis", "mp3-cbr"])
def test_hashing_in_between_does_not_disturb_decoding(originals, name, monkeypatch):
    monkeypatch.setattr("specctl.audio.decode.MIN_BLOCK_LENGTH", 1_000)
    monkeypatch.setattr("specctl.audio.decode.BLOCK_SIZE", 2_000)
    expected = read(originals[name])
    with open_audio(str(originals[name])) as reader:
        blocks = []
        for block in reader.blocks():
            blocks.append(block.copy())
            reader.sha256()
    assert len(blocks) == -(-len(expected) // 1_000)
    np.testing.assert_array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize("name", CUT_IS_SEEN)
@pytest.mark.parametrize("percent", [1, 10, 33, 50, 77, 90, 99])
def test_refuses_a_file_that_is_cut(copy_of, name, percent):
    path = copy_of(name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * percent // 100])
    with pytest.raises(AudioError):
        decode(path)


@pytest.mark.parametrize("name", CUT_IS_SEEN)
@pytest.mark.parametrize("n_bytes", [1, 7, 100])
def test_refuses_a_file_that_lacks_its_last_bytes(copy_of, name, n_bytes):
    path = copy_of(name)
    path.write_bytes(path.read_bytes()[:-n_bytes])
    with pytest.raises(AudioError, match=r"^unexpected end of data at [23]\.\d{3} s"):
        decode(path)


@pytest.mark.parametrize("name", ["wav-pcm16", "wav-float", "aiff", "au", "w64", "rf64", "nist"])
def test_says_at_what_second_the_data_end(copy_of, name):
    path = copy_of(name)
    data = path.read_bytes()
    n_bytes = 8 if name == "wav-float" else 4
    path.write_bytes(data[: len(data) - n_bytes * (N_SAMPLES - RATE)])
    with pytest.raises(AudioError, match=r"^unexpected end of data at (1\.000|0\.999) s$"):
        decode(path)


@pytest.mark.parametrize(
    "name", [b"\xff\xfe.wav", b"a\nb.flac", "é.ogg".encode(), b"no extension"]
)
def test_any_name_can_be_opened(copy_of, tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    os.rename(copy_of("wav-pcm16"), path)
    assert len(decode(os.fsdecode(path))) == N_SAMPLES


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("at", [0, 1_234, N_SAMPLES - 1])
def test_refuses_samples_that_are_not_finite(tmp_path, value, subtype, at):
    samples = noise(N_SAMPLES, 2)
    samples[at, 1] = value
    path = write(tmp_path / "a.wav", samples, subtype=subtype)
    reason = rf"^contains NaN or infinite samples at {at / RATE:.3f} s$"
    with pytest.raises(AudioError, match=reason):
        decode(path)


def test_refuses_doubles_that_no_float32_can_hold(tmp_path):
    samples = noise(N_SAMPLES, 1).astype(np.float64)
    samples[RATE] = 1e300
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="DOUBLE")
    with pytest.raises(AudioError, match=r"^contains NaN or infinite samples at 1\.000 s$"):
        decode(tmp_path / "a.wav")


def test_refuses_samples_whose_power_would_be_infinite(tmp_path):
    samples = noise(N_SAMPLES, 1)
    samples[RATE] = -1e20
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"^samples as large as 1\.0e\+20 at 1\.000 s, full"):
        decode(path)


def test_takes_floats_on_the_scale_of_integers(tmp_path):
    samples = np.full((N_SAMPLES, 1), 2.0**31, dtype=np.float32)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    np.testing.assert_array_equal(decode(path), samples)


@pytest.mark.parametrize("name", ["wav-pcm16", "ogg-vorbis", "flac"])
@pytest.mark.parametrize("change", ["touched", "grown", "truncated"])
def test_notices_a_file_that_changes_while_it_is_read(copy_of, monkeypatch, name, change):
    monkeypatch.setattr("specctl.audio.decode.BLOCK_SIZE", 2 * 4_096)
    path = copy_of(name)
    with open_audio(str(path)) as reader:
        blocks = reader.blocks()
        next(blocks)
        match change:
            case "touched":
                os.utime(path, ns=(1, 1))
            case "grown":
                with path.open("ab") as file:
                    file.write(b"more")
            case "truncated":
                os.truncate(path, reader.size // 2)
        with pytest.raises(AudioError, match=r"^changed while it was read$"):
            list(blocks)
        with pytest.raises(AudioError, match=r"^changed while it was read$"):
            reader.sha256()


@pytest.mark.parametrize("n_bytes", [0, 1, 100, 30_000])
@pytest.mark.parametrize("name", RECIPES)
def test_notices_a_file_that_is_cut_while_it_is_opened(
    originals, tmp_path, monkeypatch, name, n_bytes
):
    read_at, data = SourceFile.read_at, originals[name].read_bytes()
    n_before = 0
    path = tmp_path / originals[name].name

    def cut(source, offset, n):
        nonlocal n_left
        n_left -= 1
        if n_left == -1:
            os.truncate(path, n_bytes)
        assert n_left > -10_000, "asks for what is gone without end"
        return read_at(source, offset, n)

    monkeypatch.setattr(SourceFile, "read_at", cut)
    while True:
        path.write_bytes(data)
        n_left = n_before
        try:
            with open_audio(str(path)) as reader:
                if n_left >= 0:
                    break
                list(reader.blocks())
                pytest.fail("takes it for whole")
        except AudioError as error:
            assert str(error) == "changed while it was read"
        n_before += 1
    assert n_before


@pytest.mark.parametrize("change", ["deleted", "replaced"])
@pytest.mark.parametrize("name", ["wav-pcm16", "flac", "ogg-vorbis", "mp3-cbr", "aiff", "caf"])
def test_a_name_that_is_taken_away_leaves_the_file_to_its_reader(
    copy_of, originals, monkeypatch, name, change
):
    monkeypatch.setattr("specctl.audio.decode.BLOCK_SIZE", 2 * 4_096)
    path = copy_of(name)
    expected, digest = decode(path), hashlib.sha256(path.read_bytes()).hexdigest()
    with open_audio(str(path)) as reader:
        blocks = reader.blocks()
        samples = [next(blocks).copy()]
        path.unlink()
        if change == "replaced":
            write(path, noise(5000, 2, seed=9))
        samples += [block.copy() for block in blocks]
        assert reader.sha256() == digest
    np.testing.assert_array_equal(np.concatenate(samples), expected)


@pytest.mark.parametrize("name", ["wav-pcm16", "flac", "ogg-vorbis", "mp3-cbr", "aiff", "caf"])
def test_refuses_a_file_without_samples(tmp_path, name):
    file_name, kwargs = RECIPES[name]
    path = tmp_path / file_name
    with soundfile.SoundFile(path, "w", RATE, 1, **kwargs):
        pass
    with pytest.raises(AudioError, match=r"^no samples$|^empty file$|^the decoder says"):
        decode(path)


def with_flac_length(path, n_samples):
    data = bytearray(path.read_bytes())
    data[21] = data[21] & 0xF0 | n_samples >> 32
    data[22:26] = (n_samples & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def test_decodes_a_flac_of_undeclared_length(copy_of):
    path = copy_of("flac")
    expected = decode(path)
    with_flac_length(path, 0)
    with open_audio(str(path)) as reader:
        assert reader.info.n_samples is None
    np.testing.assert_array_equal(decode(path), expected)


@pytest.mark.parametrize("n_samples", [9_000, 2**18 + 9_000], ids=["one-block", "two-blocks"])
@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), b"\xff" * 4], ids=["tag", "junk"])
def test_ignores_what_follows_the_last_sample_of_a_flac(tmp_path, n_samples, tail):
    path = write(tmp_path / "a.flac", noise(n_samples, 1))
    known = read(path)
    path.write_bytes(path.read_bytes() + tail)
    np.testing.assert_array_equal(decode(path), known)


def test_refuses_a_cut_flac_of_undeclared_length(copy_of):
    path = with_flac_length(copy_of("flac"), 0)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(AudioError, match="lost sync"):
        decode(path)


@pytest.mark.parametrize("n_samples", [2**36 - 1, N_SAMPLES + 1], ids=["huge", "one-more"])
def test_a_flac_that_claims_too_much_costs_no_memory(copy_of, n_samples):
    path = with_flac_length(copy_of("flac"), n_samples)
    tracemalloc.start()
    try:
        with pytest.raises(AudioError, match=r"^unexpected end of data at 3\.005 s$"):
            decode(path)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_length(tmp_path):
    peaks = []
    for n_seconds in (40, 200):
        path = tmp_path / f"{n_seconds}.flac"
        with soundfile.SoundFile(path, "w", 44_100, 1) as file:
            for _ in range(n_seconds):
                file.write(np.zeros(44_100, dtype=np.float32))
        tracemalloc.start()
        with open_audio(str(path)) as reader:
            assert sum(len(block) for block in reader.blocks()) == n_seconds * 44_100
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 8 * 2**20


@pytest.mark.parametrize(
    "error",
    [MemoryError(), ValueError("odd"), TypeError("odd"), RuntimeError("Odd."), OSError(5, "io")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_decoder_raises_is_one_files_error(copy_of, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(
        AudioError,
        match=r"^(not enough memory|the decoder says: odd|input/output "
        r"error) \(after 0\.000 s\)$",
    ) as caught:
        decode(copy_of("wav-pcm32"))
    assert caught.value.__cause__ is error


def test_a_reader_gives_its_descriptor_back(copy_of):
    path = copy_of("wav-pcm16")
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for _ in range(3):
        with open_audio(str(path)) as reader:
            next(reader.blocks())
        path.write_bytes(path.read_bytes())
    path.write_bytes(b"no sound")
    for _ in range(3):
        with pytest.raises(AudioError):
            open_audio(str(path))
    after = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    assert after == before
