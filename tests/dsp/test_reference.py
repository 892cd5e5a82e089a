import librosa
import numpy as np
import pytest
import torch

from specctl.config import SpectrogramConfig
from specctl.dsp.reference import reference_spectrogram
from tests.dsp.signals import noise

# float64 by two roads; librosa keeps complex64 spectra unless told otherwise
DOUBLE_ROUNDING = 1e-12


@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize(("n_fft", "win_length", "hop"), [(128, 128, 32), (101, 80, 33)])
def test_spectra_equal_librosa_in_float64(pad_mode, n_fft, win_length, hop):
    config = SpectrogramConfig.resolve(
        feature="complex", n_fft=n_fft, win_length=win_length, hop_length=hop, pad_mode=pad_mode
    )
    waveform = noise(1000).double()
    expected = librosa.stft(
        waveform.numpy(),
        n_fft=n_fft,
        win_length=win_length,
        hop_length=hop,
        pad_mode=pad_mode,
        dtype=np.complex128,
    )
    got = reference_spectrogram(waveform, config)
    assert got.dtype == torch.complex128
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=DOUBLE_ROUNDING)


def test_log_mel_equals_librosa_in_float64():
    config = SpectrogramConfig.resolve(n_fft=512, hop_length=100, n_mels=40)
    waveform = noise(4000).double()
    mel = librosa.feature.melspectrogram(
        y=waveform.numpy(), sr=22050, n_fft=512, hop_length=100, n_mels=40, dtype=np.float64
    )
    expected = librosa.power_to_db(mel, top_db=None)
    got = reference_spectrogram(waveform, config)
    # the bands are rounded to float32
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-5)
