"""Every preset against the implementation that it names."""

import warnings

import librosa
import numpy as np
import pytest
import torch

from specctl.config import SpectrogramConfig
from specctl.errors import ParameterError
from specctl.presets import PRESETS, preset
from specctl.transforms import transform_for
from tests.dsp.signals import quantised, speech_like

# float32 against librosa's float64, at most 80 dB below the peak
DECIBEL_TOLERANCE = 1e-2
# float32 against float32: twice the rounding
FLOAT32_TOLERANCE = 2e-2
MFCC_TOLERANCE = 5e-3


def clip(sample_rate):
    return quantised(0.5 * speech_like(sample_rate, 2 * sample_rate + 77))


def computed(name, samples):
    transform = transform_for(SpectrogramConfig.resolve(name))
    return transform(torch.from_numpy(samples)).numpy()


def assert_close_in_db(got, expected, tolerance):
    assert got.shape == expected.shape
    loud = expected >= expected.max() - 80
    assert np.abs(got - expected)[loud].max() <= tolerance


@pytest.mark.parametrize("name", PRESETS)
def test_resolves_and_says_what_it_stands_for(name):
    meaning, settings = PRESETS[name]
    assert meaning
    assert SpectrogramConfig.resolve(name).sample_rate == settings["sample_rate"]


def test_a_preset_is_a_copy():
    preset("librosa")["n_fft"] = 1
    assert preset("librosa")["n_fft"] == 2048


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ParameterError, match="preset must be one of librosa, .*, got 'whispr'"):
        preset("whispr")


@pytest.mark.parametrize("quieter", [1.0, 0.01], ids=["as it is", "loudest in the last frame"])
@pytest.mark.parametrize(("name", "n_mels"), [("whisper", 80), ("whisper-v3", 128)])
def test_whisper_is_the_front_end_of_its_paper_but_for_the_last_steps(name, n_mels, quieter):
    samples = clip(16000)[:32000].astype(np.float64)
    samples[:8000] = 0
    samples[:-5] *= quieter
    samples[-5:] = 0.9, -0.9, 0.9, -0.9, 0.9
    power = np.abs(librosa.stft(samples, n_fft=400, hop_length=160, pad_mode="reflect")) ** 2
    mel = librosa.filters.mel(sr=16000, n_fft=400, n_mels=n_mels, dtype=np.float64) @ power
    expected = cut_as_whisper(np.log10(np.maximum(mel, 1e-10)))
    got = cut_as_whisper(computed(name, samples.astype(np.float32)))
    assert got.shape == expected.shape == (n_mels, 200)
    assert np.abs(got - expected).max() <= DECIBEL_TOLERANCE / 10


def cut_as_whisper(spec):
    """The steps that the preset leaves to its user, but for the last."""
    spec = spec[:, :-1]
    return np.maximum(spec, spec.max() - 8)


def test_librosa_is_librosas_melspectrogram_with_its_defaults():
    samples = clip(22050)
    mel = librosa.feature.melspectrogram(y=samples.astype(np.float64))
    expected = librosa.power_to_db(mel, top_db=None)
    assert_close_in_db(computed("librosa", samples), expected, DECIBEL_TOLERANCE)


def test_librosa_mfcc_is_librosas_mfcc_with_its_defaults():
    samples = clip(22050)
    expected = librosa.feature.mfcc(y=samples.astype(np.float64))
    got = computed("librosa-mfcc", samples)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= MFCC_TOLERANCE


def test_speech_16k_is_what_its_words_say():
    samples = clip(16000)
    mel = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=16000, n_fft=400, hop_length=160, n_mels=80
    )
    expected = librosa.power_to_db(mel, top_db=None)
    assert_close_in_db(computed("speech-16k", samples), expected, DECIBEL_TOLERANCE)


@pytest.mark.parametrize(
    ("name", "window_size", "hop_size", "sample_rate", "fmax"),
    [("panns-32k", 1024, 320, 32000, 14000), ("panns-16k", 512, 160, 16000, 8000)],
)
def test_panns_is_what_torchlibrosa_computes(name, window_size, hop_size, sample_rate, fmax):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stft = pytest.importorskip("torchlibrosa.stft")
        # as the published models build their front end
        spectrogram = stft.Spectrogram(
            n_fft=window_size,
            hop_length=hop_size,
            win_length=window_size,
            window="hann",
            center=True,
            pad_mode="reflect",
            freeze_parameters=True,
        )
        log_mel = stft.LogmelFilterBank(
            sr=sample_rate,
            n_fft=window_size,
            n_mels=64,
            fmin=50,
            fmax=fmax,
            ref=1.0,
            amin=1e-10,
            top_db=None,
            freeze_parameters=True,
        )
        samples = clip(sample_rate)
        # (batch, 1, time, mel)
        expected = log_mel(spectrogram(torch.from_numpy(samples)[None]))[0, 0].T.numpy()
    assert_close_in_db(computed(name, samples), expected, FLOAT32_TOLERANCE)


# 128 bands on 201 bins leave some of them empty, in torchaudio as well
@pytest.mark.filterwarnings("ignore:Empty filters detected:UserWarning")
def test_torchaudio_is_its_documented_defaults():
    samples = clip(16000)
    mel = librosa.feature.melspectrogram(
        y=samples.astype(np.float64),
        sr=16000,
        n_fft=400,
        hop_length=200,
        pad_mode="reflect",
        n_mels=128,
        htk=True,
        norm=None,
    )
    expected = librosa.power_to_db(mel, top_db=None)
    assert_close_in_db(computed("torchaudio", samples), expected, DECIBEL_TOLERANCE)


def test_the_window_of_speech_stays_as_long_with_a_longer_fft():
    config = SpectrogramConfig.resolve("speech-16k", n_fft=512)
    assert (config.n_fft, config.win_length, config.hop_length) == (512, 400, 160)
    assert SpectrogramConfig.resolve("speech-16k", n_fft=256, win_length=256).win_length == 256
    with pytest.raises(ParameterError, match=r"win_length must be in \[1, n_fft=256\], got 400"):
        SpectrogramConfig.resolve("speech-16k", n_fft=256)


def test_what_is_not_given_takes_nothing_from_a_preset():
    nothing = dict.fromkeys(("n_fft", "hop_length", "n_mels", "pad_mode", "scale", "top_db"))
    assert SpectrogramConfig.resolve("whisper", **nothing) == SpectrogramConfig.resolve("whisper")


@pytest.mark.parametrize("number", [torch.tensor, np.int64, float, str])
def test_settings_may_be_any_kind_of_number(number):
    given = {"n_fft": 512, "win_length": 400, "sample_rate": 16000, "power": 2}
    found = SpectrogramConfig.resolve(**{name: number(value) for name, value in given.items()})
    assert found == SpectrogramConfig.resolve(**given)
