import pytest
import soundfile

from specctl.audio.decode import open_audio
from specctl.audio.probe import probe
from specctl.errors import AudioError
from tests.audio.conftest import N_SAMPLES, RATE, RECIPES, noise, write
from tests.audio.test_mpeg import without_header


@pytest.mark.parametrize("name", RECIPES)
def test_tells_what_soundfile_tells(originals, name):
    path = originals[name]
    info, expected = probe(str(path)), soundfile.info(path)
    assert (info.sample_rate, info.n_channels) == (RATE, 2)
    assert info.n_samples == expected.frames
    assert info.format == f"{expected.format}/{expected.subtype}".lower()
    assert info.backend == "soundfile"
    with open_audio(str(path)) as reader:
        assert reader.info == info


def test_the_length_of_an_mp3_without_a_header_is_unknown(copy_of):
    path = without_header(copy_of("mp3-vbr"))
    assert probe(str(path)).n_samples is None


def test_a_cut_file_can_still_be_probed(copy_of):
    path = copy_of("flac")
    path.write_bytes(path.read_bytes()[:-1000])
    assert probe(str(path)).n_samples == N_SAMPLES


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_refuses_a_sample_rate_that_no_recording_has(tmp_path, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(10, 1), rate)
    with pytest.raises(AudioError, match=f"^sample rate {rate} Hz is outside 1000 to 768000 Hz$"):
        probe(str(path))


@pytest.mark.parametrize("rate", [1_000, 384_000, 768_000])
def test_accepts_unusual_sample_rates(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", noise(10, 1), rate)
    assert probe(str(tmp_path / "a.wav")).sample_rate == rate


@pytest.mark.parametrize(
    "data",
    [b"x", b"\0" * 5_000, b"<html>" * 900, b"\x89PNG\r\n\x1a\n" + bytes(900), b"RIFF"],
    ids=["byte", "zeros", "html", "png", "riff"],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.gsm", "a.raw", "a"])
def test_refuses_what_is_no_audio(tmp_path, data, name):
    (tmp_path / name).write_bytes(data)
    for look in (probe, open_audio):
        with pytest.raises(AudioError, match=r"^not an audio format that libsndfile knows$"):
            look(str(tmp_path / name))


def test_goes_by_the_content_not_by_the_extension(copy_of):
    path = copy_of("flac").rename(copy_of("wav-pcm16"))
    assert probe(str(path)).format == "flac/pcm_16"


def test_takes_as_many_channels_as_a_wav_can_have(tmp_path):
    path = write(tmp_path / "a.wav", noise(50, 1_024))
    assert probe(str(path)).n_channels == 1_024
