"""Spectrograms on mel bands, and what is made from them."""

from specctl.transforms.transform import Transform


class MelSpectrogram(Transform):
    """Mel spectrograms, in decibels unless ``scale`` says otherwise; see `Transform`.

    Examples
    --------
    >>> import torch, specctl
    >>> mel = specctl.MelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=80)
    >>> mel(torch.zeros(16000)).shape
    torch.Size([80, 101])
    """

    features = ("mel",)


class MFCC(Transform):
    """Mel-frequency cepstral coefficients, as ``librosa.feature.mfcc``; see `Transform`.

    Examples
    --------
    >>> import torch, specctl
    >>> specctl.MFCC(n_mfcc=13)(torch.zeros(22050)).shape
    torch.Size([13, 44])
    """

    features = ("mfcc",)
