"""Presets: named sets of numbers that a user's model expects. Plain data, checked by tests."""

from typing import Any

from specctl.errors import ParameterError

_SPEECH_16K = {
    "sample_rate": 16000,
    "n_fft": 400,
    # stays 25 ms with a longer FFT
    "win_length": 400,
    "hop_length": 160,
    "n_mels": 80,
}
_WHISPER = {
    "sample_rate": 16000,
    "n_fft": 400,
    "hop_length": 160,
    "pad_mode": "reflect",
    # not cut 80 dB below its peak: that is a peak without the last frame
    "scale": "log10",
}
_WHISPER_REST = (
    "of 30 s (--segment 30); what is left to do: drop the last frame x[:, -1], then "
    "maximum(x, x.max() - 8), then (x + 4) / 4"
)
_PANNS = {"pad_mode": "reflect", "fmin": 50.0, "n_mels": 64}

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "librosa": (
        "librosa.power_to_db(librosa.feature.melspectrogram(y), top_db=None) at 22.05 kHz",
        {"sample_rate": 22050, "n_fft": 2048, "hop_length": 512},
    ),
    "librosa-mfcc": (
        "librosa.feature.mfcc(y) at 22.05 kHz",
        {"feature": "mfcc", "sample_rate": 22050, "n_fft": 2048, "hop_length": 512},
    ),
    "speech-16k": (
        "80 mel bands, 25 ms window, 10 ms hop, at 16 kHz, in dB, as librosa computes them; "
        "models with a front end of their own, such as Whisper and AST, expect other values",
        _SPEECH_16K,
    ),
    "whisper": (
        f"Whisper's log10 mel with 80 bands, {_WHISPER_REST}",
        {**_WHISPER, "n_mels": 80},
    ),
    "whisper-v3": (
        f"Whisper large-v3's log10 mel with 128 bands, {_WHISPER_REST}",
        {**_WHISPER, "n_mels": 128},
    ),
    "panns-32k": (
        "PANNs at 32 kHz (Cnn14 and others), as torchlibrosa computes it",
        {**_PANNS, "sample_rate": 32000, "n_fft": 1024, "hop_length": 320, "fmax": 14000.0},
    ),
    "panns-16k": (
        "PANNs at 16 kHz (Cnn14_16k), as torchlibrosa computes it",
        {**_PANNS, "sample_rate": 16000, "n_fft": 512, "hop_length": 160, "fmax": 8000.0},
    ),
    "torchaudio": (
        "torchaudio.transforms.MelSpectrogram() followed by AmplitudeToDB('power')",
        {
            "sample_rate": 16000,
            "n_fft": 400,
            "hop_length": 200,
            "pad_mode": "reflect",
            "mel_scale": "htk",
            "mel_norm": "none",
        },
    ),
}
"""Name to (what it stands for, its settings)."""


def preset(name: str) -> dict[str, Any]:
    """The settings of a preset, a fresh dict.

    Raises
    ------
    ParameterError
        If there is none of that name.
    """
    # a settings file may have anything there
    if not isinstance(name, str) or name not in PRESETS:
        raise ParameterError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
    return dict(PRESETS[name][1])
