"""specctl against librosa, at the settings and on the kinds of sound that people use."""

import librosa
import numpy as np
import pytest
import torch

from specctl.transforms import MFCC, MelSpectrogram, Spectrogram
from tests.dsp.signals import signals

SETTINGS = [
    (2048, 512, 128, 22050),
    (1024, 256, 80, 22050),
    (400, 160, 80, 16000),
    (512, 128, 64, 16000),
]
SECONDS = 2
SOUNDS = ("speech", "music", "16 bit", "quiet")

# of the clip's peak: float32 against float64, over sums of up to 2048 products
MAGNITUDE_TOLERANCE = 1e-5
# relative, down to 40 dB below the peak
POWER_TOLERANCE = 1e-4
# (down to this level, dB); what float32 leaves of values that far below the loudest
DECIBEL_TOLERANCES = ((60, 1e-3), (80, 1e-2))
# a weighted sum of 128 bands, each off by at most the rounding above
MFCC_TOLERANCE = 5e-3

kernels = pytest.mark.parametrize("kernel", ["fft", "conv"])
sounds = pytest.mark.parametrize("sound", SOUNDS)
settings = pytest.mark.parametrize(
    ("n_fft", "hop_length", "n_mels", "sample_rate"), SETTINGS, ids=str
)


@pytest.fixture(scope="module")
def clips():
    return {rate: signals(rate, SECONDS * rate + 77) for rate in (16000, 22050)}


def common(n_fft, hop_length, sample_rate):
    return {"n_fft": n_fft, "hop_length": hop_length, "sample_rate": sample_rate}


def librosa_mel(clip, n_fft, hop_length, n_mels, sample_rate):
    return librosa.feature.melspectrogram(
        y=clip.astype(np.float64),
        sr=sample_rate,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
    )


@settings
@sounds
@kernels
def test_magnitudes_are_within_a_hundred_thousandth_of_the_peak(
    kernel, sound, n_fft, hop_length, n_mels, sample_rate, clips
):
    clip = clips[sample_rate][sound]
    transform = Spectrogram(
        **common(n_fft, hop_length, sample_rate), feature="magnitude", kernel=kernel
    )
    spectrum = librosa.stft(clip.astype(np.float64), n_fft=n_fft, hop_length=hop_length)
    expected = np.abs(spectrum)
    got = transform(torch.from_numpy(clip)).numpy()
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= MAGNITUDE_TOLERANCE * expected.max()


@settings
@sounds
@kernels
def test_mel_powers_are_within_a_ten_thousandth_down_to_40_db(
    kernel, sound, n_fft, hop_length, n_mels, sample_rate, clips
):
    clip = clips[sample_rate][sound]
    transform = MelSpectrogram(
        **common(n_fft, hop_length, sample_rate), n_mels=n_mels, scale="none", kernel=kernel
    )
    expected = librosa_mel(clip, n_fft, hop_length, n_mels, sample_rate)
    got = transform(torch.from_numpy(clip)).numpy()
    loud = expected >= expected.max() * 1e-4
    assert (np.abs(got - expected)[loud] / expected[loud]).max() <= POWER_TOLERANCE


@settings
@sounds
@kernels
def test_log_mels_are_within_a_hundredth_of_a_db_down_to_80_db(
    kernel, sound, n_fft, hop_length, n_mels, sample_rate, clips
):
    clip = clips[sample_rate][sound]
    transform = MelSpectrogram(
        **common(n_fft, hop_length, sample_rate), n_mels=n_mels, amin=1e-20, kernel=kernel
    )
    mel = librosa_mel(clip, n_fft, hop_length, n_mels, sample_rate)
    expected = librosa.power_to_db(mel, amin=1e-20, top_db=None)
    got = transform(torch.from_numpy(clip)).numpy()
    assert got.shape == expected.shape
    off = np.abs(got - expected)
    for level, tolerance in DECIBEL_TOLERANCES:
        assert off[expected >= expected.max() - level].max() <= tolerance


@settings
@sounds
@kernels
def test_cepstral_coefficients_equal_librosa(
    kernel, sound, n_fft, hop_length, n_mels, sample_rate, clips
):
    clip = clips[sample_rate][sound]
    transform = MFCC(
        **common(n_fft, hop_length, sample_rate), n_mels=n_mels, n_mfcc=20, kernel=kernel
    )
    expected = librosa.feature.mfcc(
        y=clip.astype(np.float64),
        sr=sample_rate,
        n_mfcc=20,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
    )
    got = transform(torch.from_numpy(clip)).numpy()
    assert np.abs(got - expected).max() <= MFCC_TOLERANCE


@settings
def test_kernels_agree_with_each_other(n_fft, hop_length, n_mels, sample_rate, clips):
    clip = torch.from_numpy(clips[sample_rate]["speech"])
    fft, conv = (
        MelSpectrogram(**common(n_fft, hop_length, sample_rate), n_mels=n_mels, kernel=kernel)(
            clip
        )
        for kernel in ("fft", "conv")
    )
    loud = fft >= fft.max() - 60
    assert (fft - conv)[loud].abs().max() <= DECIBEL_TOLERANCES[0][1]
