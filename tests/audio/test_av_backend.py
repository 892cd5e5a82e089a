import sys

import numpy as np
import pytest
import soundfile

from specctl.audio import av_backend
from specctl.audio.decode import open_audio
from specctl.audio.probe import probe
from specctl.errors import AudioError
from tests.audio.conftest import noise
from tests.audio.test_decode import decode

RATE = 48_000
ENCODERS = {
    "m4a-aac": ("a.m4a", "aac", {}),
    "m4a-faststart": ("a.m4a", "aac", {"movflags": "faststart"}),
    "m4a-alac": ("a.m4a", "alac", {}),
    "caf-alac": ("a.caf", "alac", {}),
    "webm-opus": ("a.webm", "libopus", {}),
    "mka-pcm": ("a.mka", "pcm_s16le", {}),
    "aac": ("a.aac", "aac", {}),
    "wavpack": ("a.wv", "wavpack", {}),
    "tta": ("a.tta", "tta", {}),
}
SIXTEEN_BITS = {"wavpack": "s16p", "tta": "s16"}
LOSSLESS = ["m4a-alac", "caf-alac", "mka-pcm", "wavpack", "tta"]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    av = pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("encoded")
    samples = np.round(noise(RATE * 2, 2) * 2**15).clip(-(2**15), 2**15 - 1) / 2**15
    paths = {}
    for name, (file_name, codec, options) in ENCODERS.items():
        (folder / name).mkdir()
        paths[name] = folder / name / file_name
        with av.open(str(paths[name]), "w", options=options) as container:
            container.metadata["title"] = "Maerz"
            stream = container.add_stream(codec, rate=RATE, layout="stereo")
            if codec in ("wavpack", "tta"):
                stream.codec_context.format = SIXTEEN_BITS[codec]
            planes = np.ascontiguousarray(samples.T.astype(np.float32))
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
            frame.sample_rate = RATE
            resampler = av.AudioResampler(
                format=stream.codec_context.format.name,
                layout="stereo",
                rate=RATE,
                frame_size=stream.codec_context.frame_size or 1_024,
            )
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
    return paths, samples.astype(np.float32)


@pytest.mark.parametrize("name", ENCODERS)
def test_decodes_what_libsndfile_does_not_know(encoded, name):
    paths, samples = encoded
    got = decode(paths[name])
    assert got.dtype == np.float32 and got.shape[1] == 2
    assert abs(len(got) - len(samples)) < 2_500
    with open_audio(str(paths[name])) as reader:
        assert (reader.info.backend, reader.info.sample_rate) == ("av", RATE)
        assert reader.info == probe(str(paths[name]))


@pytest.mark.parametrize("name", ["m4a-aac", "mka-pcm"])
def test_a_title_need_not_be_utf_8(encoded, tmp_path, name):
    paths, _ = encoded
    content = paths[name].read_bytes()
    assert b"Maerz" in content
    (tmp_path / paths[name].name).write_bytes(content.replace(b"Maerz", b"M\xe4r\xff "))
    np.testing.assert_array_equal(decode(tmp_path / paths[name].name), decode(paths[name]))


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_the_samples_back(encoded, name):
    paths, samples = encoded
    np.testing.assert_allclose(decode(paths[name]), samples, rtol=0, atol=2.0**-15)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("percent", [10, 50, 90, 99])
def test_refuses_a_file_that_is_cut(encoded, tmp_path, name, percent):
    original = encoded[0][name]
    data = original.read_bytes()
    path = tmp_path / original.name
    path.write_bytes(data[: len(data) * percent // 100])
    with pytest.raises(AudioError):
        decode(path)


@pytest.mark.parametrize("name", ["m4a-faststart", "webm-opus"])
def test_gives_what_is_left_of_a_file_that_is_cut_where_that_is_allowed(encoded, tmp_path, name):
    original = encoded[0][name]
    whole, data = decode(original), original.read_bytes()
    path = tmp_path / original.name
    path.write_bytes(data[: len(data) * 3 // 4])
    with open_audio(str(path), allow_truncated=True) as reader:
        part = np.concatenate([block.copy() for block in reader.blocks()])
        assert reader.cut.startswith("unexpected end of data")
    assert RATE < len(part) < len(whole)
    # the last packet lacks the next one, with which it overlaps
    n_equal = len(part) - 2 * 1_024
    np.testing.assert_array_equal(part[:n_equal], whole[:n_equal])


def test_gives_equal_blocks_and_starts_over(encoded, monkeypatch):
    monkeypatch.setattr("specctl.audio.decode.BLOCK_SIZE", 2 * 5_000)
    with open_audio(str(encoded[0]["m4a-alac"])) as reader:
        first = [block.copy() for block in reader.blocks()]
        second = [block.copy() for block in reader.blocks()]
    assert {len(block) for block in first[:-1]} == {5_000}
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("name", ["m4a-aac", "wavpack"])
def test_says_what_to_install(encoded, tmp_path, monkeypatch, name, is_cut):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(av_backend, "is_installed", lambda: False)
    path = tmp_path / encoded[0][name].name
    data = encoded[0][name].read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4] if is_cut else data)
    with pytest.raises(AudioError, match=r"^needs PyAV; pip install 'specctl-audio\[av\]'$"):
        open_audio(str(path), allow_truncated=True)


def test_knows_a_foreign_container_by_its_content(encoded, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded[0]["m4a-aac"].read_bytes())
    assert probe(str(path)).format == "mov/aac"


def test_knows_headerless_g722_by_its_name(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.g722"), "w", format="g722") as container:
        stream = container.add_stream("g722", rate=16_000, layout="mono")
        samples = (noise(16_000, 1).T * 2**15).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert decode(tmp_path / "a.g722").shape == (16_000, 1)


@pytest.mark.parametrize("name", ["a.m4a", "a.wv", "a.mkv", "a.ape", "a.wma"])
def test_refuses_what_is_no_audio(tmp_path, name):
    pytest.importorskip("av")
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(5_000))
    with pytest.raises(AudioError):
        open_audio(str(tmp_path / name))


def test_refuses_a_video_without_sound(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(AudioError, match=r"^no audio stream$"):
        open_audio(str(tmp_path / "a.mkv"))


class _Frame:
    """As much of PyAV's frame as the decoder looks at."""

    def __init__(self, samples, *, is_planar, rate=RATE):
        self.sample_rate = rate
        self.layout = type("Layout", (), {"nb_channels": 2})
        self.format = type("Format", (), {"is_planar": is_planar})
        self._samples = samples

    def to_ndarray(self):
        return self._samples


@pytest.mark.parametrize(
    ("dtype", "full"),
    [(np.uint8, 255), (np.int16, 32_767), (np.int32, 2**31 - 1), (np.float32, 1)],
)
@pytest.mark.parametrize("is_planar", [True, False], ids=["planar", "packed"])
def test_scales_every_sample_format_to_one(encoded, dtype, full, is_planar):
    with open_audio(str(encoded[0]["m4a-aac"])) as reader:
        samples = np.full((2, 5) if is_planar else (1, 10), full, dtype=dtype)
        got = reader._decoder._to_float(_Frame(samples, is_planar=is_planar))
        assert got.shape == (5, 2)
        np.testing.assert_allclose(got, 1.0, atol=0.01)
        with pytest.raises(AudioError, match=r"^sample rate or channels change within the file$"):
            reader._decoder._to_float(_Frame(samples, is_planar=is_planar, rate=8_000))


def test_errors_of_ffmpeg_are_told_without_its_file_name(encoded, tmp_path):
    path = tmp_path / "a.m4a"
    data = encoded[0]["m4a-aac"].read_bytes()
    path.write_bytes(data.replace(b"moov", b"none"))
    with pytest.raises(AudioError, match=r"^the decoder says: invalid data found when processing"):
        open_audio(str(path))


def test_whatever_ffmpeg_says_while_decoding_is_one_files_error(encoded, monkeypatch):
    av = pytest.importorskip("av")
    with open_audio(str(encoded[0]["m4a-aac"])) as reader:

        def fail(frame):
            raise av.error.UndefinedError(1, "Odd thing.")

        monkeypatch.setattr(reader._decoder, "_to_float", fail)
        with pytest.raises(AudioError, match=r"^the decoder says: odd thing \(after 0\.000 s\)$"):
            list(reader.blocks())


def test_mp3_in_wav_is_as_long_as_its_decoder_says(tmp_path):
    """libsndfile reads it, and counts what encoders put before the sound."""
    av = pytest.importorskip("av")
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono")
        stream.codec_context.format = "fltp"
        frame = av.AudioFrame.from_ndarray(noise(RATE, 1).T.copy(), format="fltp", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE, frame_size=1152)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
    assert RATE <= len(expected) < soundfile.info(path).frames
    np.testing.assert_array_equal(decode(path), expected)
