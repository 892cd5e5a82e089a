"""How many frames and rows there will be, by the settings alone."""

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specctl.config import SpectrogramConfig, StftConfig


# librosa compiles on its first call
@given(
    n_samples=st.integers(1, 3000),
    n_fft=st.integers(2, 300),
    hop_length=st.integers(1, 400),
    center=st.booleans(),
)
def test_the_number_of_frames_is_librosas(n_samples, n_fft, hop_length, center):
    config = StftConfig.resolve(n_fft=n_fft, hop_length=hop_length, center=center)
    if not center and n_samples < n_fft:
        assert config.n_frames(n_samples) == 0
        return
    padded = np.zeros(n_samples + (n_fft // 2 * 2 if center else 0))
    if padded.size < n_fft:
        # an odd FFT of a single sample: librosa has no frame either
        assert config.n_frames(n_samples) == 0
        return
    frames = librosa.util.frame(padded, frame_length=n_fft, hop_length=hop_length)
    assert config.n_frames(n_samples) == frames.shape[-1]


@pytest.mark.filterwarnings("ignore:n_fft=128 is too large for input signal:UserWarning")
@pytest.mark.parametrize("n_samples", [1, 2, 511, 512, 513, 1023, 1024, 1025, 22050, 99_999])
@pytest.mark.parametrize("hop_length", [1, 100, 512, 3000])
def test_the_number_of_frames_is_that_of_librosas_stft(n_samples, hop_length):
    config = StftConfig.resolve(n_fft=128, hop_length=hop_length)
    spectrum = librosa.stft(np.zeros(n_samples, np.float32), n_fft=128, hop_length=hop_length)
    assert config.n_frames(n_samples) == spectrum.shape[-1]


@pytest.mark.parametrize("n_samples", [0, -5])
def test_nothing_has_no_frames(n_samples):
    assert StftConfig.resolve().n_frames(n_samples) == 0


@pytest.mark.parametrize(
    ("given", "n_bins"),
    [
        ({"feature": "complex", "n_fft": 101}, 51),
        ({"feature": "power", "n_fft": 100}, 51),
        ({"n_mels": 7}, 7),
        ({"feature": "mfcc", "n_mfcc": 5}, 5),
    ],
)
def test_rows_are_counted_as_the_feature_has_them(given, n_bins):
    assert SpectrogramConfig.resolve(**given).n_bins == n_bins
