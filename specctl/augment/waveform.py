"""Changes of waveforms sample by sample: level, noise, position."""

from typing import Literal, get_args

import torch
from torch import Tensor

from specctl.augment.base import (
    MAX_SAMPLE_RATE,
    Augmentation,
    check_range,
    check_whole,
    check_within,
    valid,
)
from specctl.augment.draws import Draws
from specctl.errors import ParameterError

MAX_FADE_DURATION = 3600.0
_MOST_DB = 200.0

ShiftUnit = Literal["fraction", "samples", "seconds"]


class Gain(Augmentation):
    """Multiply by a random factor.

    Parameters
    ----------
    min_gain_db, max_gain_db : float
        Range of the change of level, in dB; at most 200 up or down.
    p : float
        Probability that a clip is changed.
    """

    def __init__(
        self, min_gain_db: float = -12.0, max_gain_db: float = 12.0, p: float = 0.5
    ) -> None:
        super().__init__(p)
        check_range("gain_db", min_gain_db, max_gain_db)
        check_within("min_gain_db", min_gain_db, -_MOST_DB, _MOST_DB)
        check_within("max_gain_db", max_gain_db, -_MOST_DB, _MOST_DB)
        self.range_db = (min_gain_db, max_gain_db)

    def change(self, batch: Tensor, lengths: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """One factor for a clip."""
        factor = 10.0 ** (draws.uniform(*self.range_db) / 20.0)
        return batch * factor.to(batch)[:, None], lengths


class GaussianNoise(Augmentation):
    """Add white noise; ``AddGaussianNoise`` in audiomentations.

    Parameters
    ----------
    min_amplitude, max_amplitude : float
        Range of the noise's standard deviation; full scale is 1.
    p : float
        Probability that a clip is changed.
    """

    def __init__(
        self, min_amplitude: float = 0.001, max_amplitude: float = 0.015, p: float = 0.5
    ) -> None:
        super().__init__(p)
        check_within("min_amplitude", min_amplitude, 0.0)
        check_range("amplitude", min_amplitude, max_amplitude)
        self.range = (min_amplitude, max_amplitude)

    def change(self, batch: Tensor, lengths: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """One amplitude for a clip; padding stays silent."""
        amplitude = draws.uniform(*self.range).to(batch)[:, None]
        noise = draws.normal(batch.shape[-1], batch.device).to(batch.dtype)
        return batch + amplitude * noise * valid(batch, lengths), lengths


class Shift(Augmentation):
    """Move the sound in time.

    Parameters
    ----------
    min_shift, max_shift : float
        Range of the shift in ``shift_unit``; positive is later.
    shift_unit : {"fraction", "samples", "seconds"}
        Fractions are of the length of each clip.
    rollover : bool
        What is pushed out at one end comes in at the other; else silence comes in.
    fade_duration : float
        Seconds over which the sound fades out before the joint and in after it, against the
        click; 0 for none, 3600 at most.
    sample_rate : int, optional
        In Hz; needed where something is in seconds.
    p : float
        Probability that a clip is changed.
    """

    def __init__(
        self,
        min_shift: float = -0.5,
        max_shift: float = 0.5,
        shift_unit: ShiftUnit = "fraction",
        rollover: bool = True,
        fade_duration: float = 0.005,
        sample_rate: int | None = None,
        p: float = 0.5,
    ) -> None:
        super().__init__(p)
        check_range("shift", min_shift, max_shift)
        check_within("fade_duration", fade_duration, 0.0, MAX_FADE_DURATION)
        if shift_unit not in get_args(ShiftUnit):
            raise ParameterError(
                f"shift_unit must be {' or '.join(get_args(ShiftUnit))}, got {shift_unit!r}"
            )
        if sample_rate is not None:
            check_whole("sample_rate", sample_rate, 1, MAX_SAMPLE_RATE)
        elif shift_unit == "seconds" or fade_duration > 0:
            raise ParameterError(
                "sample_rate must be given with fade_duration above 0 or shift_unit 'seconds', "
                "got none"
            )
        self.range = (min_shift, max_shift)
        self.shift_unit = shift_unit
        self.rollover = rollover
        self.sample_rate = None if sample_rate is None else int(sample_rate)
        self.fade_length = round(fade_duration * (sample_rate or 0))

    def change(self, batch: Tensor, lengths: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """One shift for a clip, rounded to samples."""
        one = torch.ones_like(lengths)
        unit = {"fraction": lengths, "samples": one, "seconds": one * (self.sample_rate or 0)}
        shift = (draws.uniform(*self.range) * unit[self.shift_unit]).round().to(torch.int64)
        shift, length = (each.to(batch.device)[:, None] for each in (shift, lengths))
        place = torch.arange(batch.shape[-1], device=batch.device)
        source = place - shift
        is_sound = place < length
        if self.rollover:
            source = source % length.clamp(min=1)
        else:
            is_sound = is_sound & (source >= 0) & (source < length)
        moved = batch.gather(1, source.clamp(0, batch.shape[-1] - 1)) * is_sound
        if self.fade_length:
            moved = moved * self._fade(place, shift, length).to(moved.dtype)
        return moved, lengths

    def _fade(self, place: Tensor, shift: Tensor, length: Tensor) -> Tensor:
        """Linear ramps away from the joint on either side; 1 where nothing was moved."""
        after = place - shift % length.clamp(min=1)
        steps = torch.where(after >= 0, after, -after - 1)
        return torch.where(shift == 0, 1.0, (steps.float() / self.fade_length).clamp(max=1.0))
