import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specctl.config import SpectrogramConfig
from specctl.dsp.mel import (
    centre_frequencies,
    dct_matrix,
    hz_to_mel,
    mel_edges,
    mel_filterbank,
    mel_to_hz,
)

# of the tallest band: librosa rounds to float32 twice, a last bit is 1.2e-7
BAND_TOLERANCE = 2e-7
# an orthonormal cosine, rounded to float32
DCT_TOLERANCE = 1e-7

scales = pytest.mark.parametrize("scale", ["slaney", "htk"])


# librosa is loaded on its first call
@scales
@given(st.floats(0, 96_000))
def test_hz_to_mel_equals_librosa(scale, hz):
    got = hz_to_mel(np.array([hz]), scale)
    assert got.item() == pytest.approx(librosa.hz_to_mel(hz, htk=scale == "htk"), rel=1e-12)


@scales
@given(st.floats(0, 96_000))
def test_mel_to_hz_undoes_hz_to_mel(scale, hz):
    there = hz_to_mel(np.array([hz]), scale)
    assert mel_to_hz(there, scale).item() == pytest.approx(hz, rel=1e-9, abs=1e-9)


@scales
@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels", "fmin", "fmax"),
    [
        (22050, 2048, 128, 0.0, 11025.0),
        (16000, 400, 80, 0.0, 8000.0),
        (16000, 512, 64, 50.0, 7600.0),
        (44100, 1001, 40, 300.0, 3000.0),
        (8000, 256, 1, 0.0, 4000.0),
    ],
)
def test_bands_equal_librosa(scale, norm, sample_rate, n_fft, n_mels, fmin, fmax):
    ours = SpectrogramConfig.resolve(
        sample_rate=sample_rate,
        n_fft=n_fft,
        n_mels=n_mels,
        fmin=fmin,
        fmax=fmax,
        mel_scale=scale,
        mel_norm=norm,
    )
    expected = librosa.filters.mel(
        sr=sample_rate,
        n_fft=n_fft,
        n_mels=n_mels,
        fmin=fmin,
        fmax=fmax,
        htk=scale == "htk",
        norm=None if norm == "none" else norm,
    )
    got = mel_filterbank(ours).numpy()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=BAND_TOLERANCE * expected.max())


@given(
    # two samples have no bin between 0 and half the rate
    n_fft=st.integers(3, 600),
    n_mels=st.integers(1, 60),
    sample_rate=st.integers(100, 96_000),
)
def test_bands_are_never_negative_and_lie_in_two_bands_at_most(n_fft, n_mels, sample_rate):
    config = SpectrogramConfig.resolve(n_fft=n_fft, n_mels=n_mels, sample_rate=sample_rate)
    bands = mel_filterbank(config)
    assert bands.shape == (n_mels, config.n_freqs)
    assert (bands >= 0).all()
    assert ((bands > 0).sum(0) <= 2).all()


def test_centres_are_the_peaks_of_the_bands():
    config = SpectrogramConfig.resolve(n_fft=8192, n_mels=20)
    centres = centre_frequencies(config)
    peaks = mel_filterbank(config).argmax(1) * config.sample_rate / config.n_fft
    # to the nearest bin
    assert np.abs(centres - peaks.numpy()).max() <= config.sample_rate / config.n_fft
    assert np.array_equal(centres, mel_edges(config)[1:-1])


@pytest.mark.parametrize("feature", ["complex", "magnitude", "power"])
def test_centres_of_bins_are_those_of_the_fft(feature):
    config = SpectrogramConfig.resolve(feature=feature, n_fft=101, sample_rate=8000)
    expected = librosa.fft_frequencies(sr=8000, n_fft=101)
    np.testing.assert_allclose(centre_frequencies(config), expected, rtol=1e-12)


def test_cepstral_coefficients_are_numbered():
    config = SpectrogramConfig.resolve(feature="mfcc", n_mfcc=3)
    assert centre_frequencies(config).tolist() == [0, 1, 2]


@pytest.mark.parametrize("lifter", [0, 1, 22, 0.7])
@pytest.mark.parametrize(("n_mfcc", "n_mels"), [(20, 128), (13, 40), (5, 5), (1, 1)])
def test_cosine_transform_equals_librosa(n_mfcc, n_mels, lifter):
    config = SpectrogramConfig.resolve(feature="mfcc", n_mfcc=n_mfcc, n_mels=n_mels, lifter=lifter)
    columns = np.eye(n_mels)
    expected = librosa.feature.mfcc(S=columns, n_mfcc=n_mfcc, lifter=lifter)
    got = dct_matrix(config).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=DCT_TOLERANCE * (1 + lifter))
