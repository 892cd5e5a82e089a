"""Pitch and tempo by a phase vocoder, each clip at its own rate."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from specctl.augment.base import Augmentation, check_range, check_whole, check_within, valid
from specctl.augment.draws import Draws
from specctl.errors import ParameterError

MAX_SEMITONES = 24.0
RATE_RANGE = (0.1, 10.0)
MAX_N_FFT = 2**16
"""A clip is padded to a frame: a batch of short ones would take all memory."""

_FRAMES_AT_ONCE = 16
"""Where torch has no MKL (on ARM), its FFT takes so many frames together, or a divisor of them,
and those that are left over one by one, where it rounds otherwise."""


class TimeStretch(Augmentation):
    """Make clips faster or slower without changing their pitch.

    Parameters
    ----------
    min_rate, max_rate : float
        Range of the rate, within [0.1, 10]; 2 is twice as fast.
    leave_length_unchanged : bool
        Cut or fill up with silence to the length that a clip had; else it is as long as the
        rate makes it.
    n_fft : int
        Samples of a frame of the phase vocoder, 65536 at most; frames overlap by three quarters.
    p : float
        Probability that a clip is changed.
    """

    def __init__(
        self,
        min_rate: float = 0.8,
        max_rate: float = 1.25,
        leave_length_unchanged: bool = True,
        n_fft: int = 1024,
        p: float = 0.5,
    ) -> None:
        super().__init__(p)
        check_range("rate", min_rate, max_rate)
        check_within("min_rate", min_rate, *RATE_RANGE)
        check_within("max_rate", max_rate, *RATE_RANGE)
        _check_n_fft(n_fft)
        self.range = (min_rate, max_rate)
        self.leave_length_unchanged = leave_length_unchanged
        self.n_fft = int(n_fft)

    def change(self, batch: Tensor, lengths: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """One rate for a clip."""
        stretched, new_lengths = stretch(batch, lengths, draws.uniform(*self.range), self.n_fft)
        if not self.leave_length_unchanged:
            return stretched, new_lengths
        missing = batch.shape[-1] - stretched.shape[-1]
        stretched = torch.nn.functional.pad(stretched, (0, missing))
        new_lengths = torch.minimum(new_lengths, lengths)
        return stretched * valid(stretched, new_lengths), new_lengths


class PitchShift(Augmentation):
    """Move the pitch of clips without changing their length.

    Parameters
    ----------
    min_semitones, max_semitones : float
        Range of the shift, within [-24, 24].
    n_fft : int
        Samples of a frame of the phase vocoder, 65536 at most.
    p : float
        Probability that a clip is changed.

    Notes
    -----
    A clip is stretched and then resampled back to its length. Lengths are whole samples, so
    the ratio of frequencies is off by at most one part in the clip's length.
    """

    def __init__(
        self,
        min_semitones: float = -4.0,
        max_semitones: float = 4.0,
        n_fft: int = 1024,
        p: float = 0.5,
    ) -> None:
        super().__init__(p)
        check_range("semitones", min_semitones, max_semitones)
        check_within("min_semitones", min_semitones, -MAX_SEMITONES, MAX_SEMITONES)
        check_within("max_semitones", max_semitones, -MAX_SEMITONES, MAX_SEMITONES)
        _check_n_fft(n_fft)
        self.range = (min_semitones, max_semitones)
        self.n_fft = int(n_fft)

    def change(self, batch: Tensor, lengths: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """One interval for a clip."""
        rates = 2.0 ** (-draws.uniform(*self.range) / 12.0)
        stretched, stretched_lengths = stretch(batch, lengths, rates, self.n_fft)
        shifted = torch.zeros_like(batch)
        for clip, (old, new) in enumerate(
            zip(stretched_lengths.tolist(), lengths.tolist(), strict=True)
        ):
            if old and new:
                shifted[clip, :new] = _resampled(stretched[clip, :old], new)
        return shifted, lengths


def stretch(
    batch: Tensor, lengths: Tensor, rates: Tensor, n_fft: int = 1024
) -> tuple[Tensor, Tensor]:
    """Change the tempo of each clip by a phase vocoder.

    Parameters
    ----------
    batch : Tensor, shape (batch, samples)
    lengths : Tensor, shape (batch,), int64, CPU
    rates : Tensor, shape (batch,), CPU
        Above 0; 2 halves the length.
    n_fft : int

    Returns
    -------
    stretched : Tensor, shape (batch, samples of the longest)
    lengths : Tensor, shape (batch,), int64, CPU

    References
    ----------
    Flanagan, Golden: Phase vocoder, Bell System Technical Journal 45, 1966.
    """
    given, hop_length = batch.dtype, n_fft // 4
    if given in (torch.float16, torch.bfloat16):
        # no FFT takes these everywhere
        batch = batch.float()
    taper = torch.hann_window(n_fft, dtype=batch.dtype, device=batch.device)
    # frames at its end see silence behind a clip, whatever the batch holds there
    batch = batch.masked_fill(~valid(batch, lengths), 0.0)
    # every frame that reaches into a clip, wherever the widest of the batch ends
    n_frames = _n_frames(batch.shape[1] + n_fft, hop_length)
    padded = torch.nn.functional.pad(batch, (0, (n_frames - 1) * hop_length - batch.shape[1]))
    spectra = torch.stft(
        padded, n_fft, hop_length, window=taper, pad_mode="constant", return_complex=True
    )
    new_lengths = (lengths / rates).round().to(torch.int64)
    longest = max(1, int(new_lengths.max()))
    n_frames = _n_frames(longest + n_fft // 2, hop_length)
    frame = torch.arange(n_frames, dtype=torch.float64) * rates.to(torch.float64)[:, None]
    # time before frequency in memory, so a frame's numbers are side by side: for several clips
    # istft would put them so, for one it would not, and the FFT rounds otherwise there
    spectra = _read_at(spectra.transpose(1, 2), frame.to(batch.device)).transpose(1, 2)
    stretched = torch.istft(spectra, n_fft, hop_length, window=taper, length=longest)
    return (stretched * valid(stretched, new_lengths)).to(given), new_lengths


def _n_frames(n_samples: int, hop_length: int) -> int:
    """Centred frames that so many samples give, and some more, so that none is left over."""
    n_groups = -(-(n_samples + hop_length) // (hop_length * _FRAMES_AT_ONCE))
    return n_groups * _FRAMES_AT_ONCE


def _read_at(spectra: Tensor, frame: Tensor) -> Tensor:
    """Spectra at fractional frames: magnitudes between, phases as the partials would turn.

    Shape (batch, time, freq).
    """
    n_frames, n_freqs = spectra.shape[1:]
    left = frame.floor().long().clamp(max=n_frames - 1)
    weight = (frame - left).clamp(0.0, 1.0).to(spectra.real.dtype)[:, :, None]
    index = left[:, :, None].expand(-1, -1, n_freqs)
    # a frame of silence behind the last
    padded = torch.nn.functional.pad(spectra, (0, 0, 0, 1))
    if 2 * index.shape[1] < n_frames:
        # few are read, and computed after they are; that changes no bit
        here, following = (_Polar.of(padded.gather(1, each)) for each in (index, index + 1))
    else:
        polar = _Polar.of(padded)
        here, following = polar.gather(index), polar.gather(index + 1)
    magnitude = (1.0 - weight) * here.magnitude + weight * following.magnitude
    # frames are as far apart in the result, so a partial turns as much from one to the next
    turn_real = following.real * here.real + following.imag * here.imag
    turn_imag = following.imag * here.real - following.real * here.imag
    turns = torch.complex(
        torch.cat([here.real[:, :1], turn_real[:, :-1]], dim=1),
        torch.cat([here.imag[:, :1], turn_imag[:, :-1]], dim=1),
    )
    real, imag = torch.view_as_real(turns.cumprod(1)).unbind(3)
    # a long product of numbers of length 1 is one but for its rounding; so it is again
    magnitude = magnitude * (1.5 - 0.5 * (real * real + imag * imag))
    return torch.complex(magnitude * real, magnitude * imag)


class _Polar(NamedTuple):
    """Complex numbers as magnitude and direction, which is 1 for silence.

    No angles: only operations that round rightly everywhere. Those of complex numbers and of
    angles compute several at once, and what is left over by other code that rounds otherwise, so
    a clip would not be the same alone as in a batch.
    """

    magnitude: Tensor
    real: Tensor
    imag: Tensor

    @classmethod
    def of(cls, spectra: Tensor) -> Self:
        real, imag = torch.view_as_real(spectra).unbind(3)
        # squares of the faintest would be 0
        scale = torch.maximum(real.abs(), imag.abs())
        is_silent = scale == 0
        divisor = scale.masked_fill(is_silent, 1.0)
        real, imag = (real / divisor).masked_fill(is_silent, 1.0), imag / divisor
        norm = (real * real + imag * imag).sqrt()
        return cls(scale * norm, real / norm, imag / norm)

    def gather(self, index: Tensor) -> "_Polar":
        return _Polar(*(each.gather(1, index) for each in self))


def _resampled(clip: Tensor, n_samples: int) -> Tensor:
    """(samples,) to another number of samples over the same time, band-limited."""
    is_short = clip.dtype in (torch.float16, torch.bfloat16)
    spectrum = torch.fft.rfft(clip.float() if is_short else clip)
    kept = min(len(spectrum), n_samples // 2 + 1)
    resampled: Tensor = torch.fft.irfft(spectrum[:kept], n=n_samples)
    return resampled * (n_samples / len(clip))


def _check_n_fft(n_fft: int) -> None:
    check_whole("n_fft", n_fft, 16, MAX_N_FFT)
    if n_fft % 4:
        raise ParameterError(f"n_fft must be a multiple of 4, at least 16, got {n_fft}")
