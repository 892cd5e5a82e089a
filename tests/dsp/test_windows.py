import librosa
import numpy as np
import pytest

from specctl.config import StftConfig
from specctl.dsp.windows import window

# a cosine series in float64, summed in another order
ROUNDING = 1e-15


def config(name, win_length, n_fft):
    return StftConfig.resolve(n_fft=n_fft, win_length=win_length, window=name)


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "boxcar"])
@pytest.mark.parametrize(
    ("win_length", "n_fft"), [(1024, 1024), (400, 400), (25, 101), (100, 101), (1, 4), (2, 3)]
)
def test_equals_librosa(name, win_length, n_fft):
    taper = librosa.filters.get_window(name, win_length, fftbins=True)
    expected = librosa.util.pad_center(taper, size=n_fft)
    got = window(config(name, win_length, n_fft)).numpy()
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=0, atol=ROUNDING)


def test_a_window_shorter_than_the_fft_stands_in_its_middle():
    taper = window(config("boxcar", 4, 9))
    assert taper.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]
