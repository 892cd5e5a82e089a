import numpy as np
import pytest
import soundfile

from specctl.audio.decode import open_audio
from specctl.errors import AudioError
from tests.audio.conftest import noise, read
from tests.audio.test_decode import decode


@pytest.fixture
def gsm(tmp_path):
    path = tmp_path / "a.gsm"
    soundfile.write(path, noise(16_000, 1), 8_000, format="RAW", subtype="GSM610")
    return path


def test_knows_headerless_gsm_by_its_name(gsm):
    expected = read(gsm, 20_000)
    np.testing.assert_array_equal(decode(gsm), expected)
    with open_audio(str(gsm)) as reader:
        assert (reader.info.format, reader.info.sample_rate) == ("raw/gsm610", 8_000)


def test_refuses_gsm_with_half_a_frame(gsm):
    gsm.write_bytes(gsm.read_bytes()[:-1])
    with pytest.raises(AudioError, match=r"^unexpected end of data at [12]\.\d{3} s$"):
        open_audio(str(gsm))


def test_refuses_gsm_that_is_something_else_further_on(gsm):
    data = bytearray(gsm.read_bytes())
    data[33 * 50] = 0
    gsm.write_bytes(data)
    with pytest.raises(AudioError, match=r"^not an audio format"):
        open_audio(str(gsm))


def test_a_wav_named_gsm_is_a_wav(tmp_path):
    soundfile.write(tmp_path / "a.gsm", noise(100, 1), 8_000, format="WAV")
    assert len(decode(tmp_path / "a.gsm")) == 100
