"""Spectrograms on the bins of the FFT."""

from specctl.transforms.transform import Transform


class Spectrogram(Transform):
    """Power (the default), magnitude or complex spectrograms; see `Transform` for the keywords.

    Examples
    --------
    >>> import torch, specctl
    >>> spectrogram = specctl.Spectrogram(feature="magnitude", n_fft=512)
    >>> spectrogram(torch.zeros(2, 22050)).shape
    torch.Size([2, 257, 173])
    """

    features = ("power", "magnitude", "complex")
