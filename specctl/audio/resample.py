"""Mixing channels and changing the sample rate: the numbers of librosa, block by block."""

import math

import numpy as np
import numpy.typing as npt
import soxr

from specctl.errors import ParameterError

Samples = npt.NDArray[np.float32]

PAIRWISE_SUM_FROM = 8  # channels; NumPy adds fewer numbers one after another


def resampled_length(n_samples: int, source_rate: int, target_rate: int) -> int:
    """Samples that ``n_samples`` become at ``target_rate``, as librosa counts them.

    Notes
    -----
    The ratio is rounded to float64 first, as in ``librosa.resample``: for some pairs of
    rates the exact quotient would give one sample less.
    """
    if source_rate == target_rate:
        return n_samples
    return math.ceil(n_samples * (float(target_rate) / source_rate))


def mix_channels(block: Samples) -> Samples:
    """Mean over the channels, bit for bit that of ``librosa.to_mono``.

    Parameters
    ----------
    block : (samples, channels), float32, C-contiguous

    Returns
    -------
    (samples,), float32
        For one channel a view of ``block``, not a copy.
    """
    n_channels = block.shape[1]
    if n_channels == 1:
        return block[:, 0]
    if n_channels >= PAIRWISE_SUM_FROM:
        mean: Samples = np.mean(block, axis=1)
        return mean
    # whole columns at a time: 30 times as fast as np.mean along so short an axis
    total = block[:, 0] + np.float32(0.0)  # NumPy's sums begin with +0, which -0 turns into
    for channel in range(1, n_channels):
        total += block[:, channel]
    total /= np.float32(n_channels)
    return total


class Resampler:
    """Change the sample rate of one channel, fed in blocks of any size.

    All blocks together give what ``librosa.resample(..., res_type="soxr_hq")`` gives for
    the whole, bit for bit, wherever the cuts fall.

    Parameters
    ----------
    source_rate, target_rate : int
        In Hz; equal rates pass every block through untouched.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        for name, rate in (("source_rate", source_rate), ("target_rate", target_rate)):
            if rate < 1:
                raise ParameterError(f"{name} must be at least 1 Hz, got {rate}")
        self._rates = (source_rate, target_rate)
        self._n_in = 0
        self._n_out = 0
        self._stream = None
        if source_rate != target_rate:
            self._stream = soxr.ResampleStream(
                source_rate, target_rate, 1, dtype="float32", quality="HQ"
            )

    def push(self, block: Samples, last: bool) -> Samples:
        """Take the next samples in, give those out that are settled by now.

        Parameters
        ----------
        block : (samples,), float32
            May be empty, also at the end.
        last : bool
            Nothing follows: the rest comes out, padded with zeros or trimmed to
            ``resampled_length`` of all samples, and the resampler is used up.

        Returns
        -------
        (samples,), float32
            Often of another length than the ratio of the rates suggests.
        """
        if self._stream is None:
            return block
        self._n_in += len(block)
        out: Samples = self._stream.resample_chunk(np.ascontiguousarray(block), last=last)
        if last:
            missing = resampled_length(self._n_in, *self._rates) - self._n_out - len(out)
            # soxr may come out one sample short; librosa fills up with zeros
            out = np.pad(out, (0, missing)) if missing > 0 else out[: len(out) + missing]
        self._n_out += len(out)
        return out
