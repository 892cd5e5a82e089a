"""Changes of spectrograms: time warp, frequency masks, time masks."""

from typing import Literal, get_args

import torch
from torch import Tensor

from specctl.augment.base import Augmentation, check_whole, check_within, valid
from specctl.augment.draws import Draws
from specctl.errors import ParameterError

MAX_WIDTH = 2**31
MAX_MASKS = 1000

Fill = Literal["mean", "zero"]


class SpecAugment(Augmentation):
    """Warp time, then mask stripes of frequency and of time, within the valid frames.

    The defaults are the policy called *SM* in the paper, the mildest of those with several
    masks.

    Parameters
    ----------
    W : int
        Largest warp in frames; 0 for none. Less where a clip is shorter than ``2 * W + 1``.
    F, mF : int
        Largest width of a frequency mask in bins, and how many there are, 1000 at most.
    T, mT : int
        Largest width of a time mask in frames, and how many there are, 1000 at most.
    p : float
        No time mask is wider than this fraction of a clip's valid frames.
    fill : {"mean", "zero"}
        What masked values become: the mean over the valid frames of the clip, or 0.

    References
    ----------
    Park et al.: SpecAugment, a simple data augmentation method for automatic speech
    recognition, Interspeech 2019.
    """

    n_dims = 3

    def __init__(
        self,
        W: int = 40,  # noqa: N803 - as the paper writes them
        F: int = 15,  # noqa: N803
        mF: int = 2,  # noqa: N803
        T: int = 70,  # noqa: N803
        mT: int = 2,  # noqa: N803
        p: float = 0.2,
        fill: Fill = "mean",
    ) -> None:
        super().__init__(p=1.0)
        for name, value in (("W", W), ("F", F), ("T", T)):
            check_whole(name, value, 0, MAX_WIDTH)
        for name, value in (("mF", mF), ("mT", mT)):
            check_whole(name, value, 0, MAX_MASKS)
        check_within("p", p, 0.0, 1.0)
        if fill not in get_args(Fill):
            raise ParameterError(f"fill must be {' or '.join(get_args(Fill))}, got {fill!r}")
        self.W, self.F, self.mF, self.T, self.mT = map(int, (W, F, mF, T, mT))
        self.max_fraction = p
        self.fill = fill

    def change(self, batch: Tensor, lengths: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Warps and masks of its own for each clip."""
        if self.W:
            batch = _warped(batch, lengths, self.W, draws)
        hidden = torch.zeros_like(batch, dtype=torch.bool)
        for _ in range(self.mF):
            width = draws.integers(min(self.F, batch.shape[1]))
            start = draws.integers(batch.shape[1] - width)
            hidden |= _stripe(batch.shape[1], start, width, batch.device)[:, :, None]
        widest = torch.minimum(torch.tensor(self.T), (self.max_fraction * lengths.float()).long())
        for _ in range(self.mT):
            width = draws.integers(widest)
            start = draws.integers(lengths - width)
            hidden |= _stripe(batch.shape[2], start, width, batch.device)[:, None, :]
        is_sound = valid(batch, lengths)[:, None, :]
        return torch.where(hidden & is_sound, self._filling(batch, lengths), batch), lengths

    def _filling(self, batch: Tensor, lengths: Tensor) -> Tensor:
        """(batch, 1, 1)."""
        if self.fill == "zero":
            return batch.new_zeros(len(batch), 1, 1)
        # clip by clip: the last bit of a sum depends on all that is summed at once; in float64:
        # a sum of 16 bits overflows
        means = [
            clip[:, :length].contiguous().mean(dtype=torch.float64)
            for clip, length in zip(batch, lengths.tolist(), strict=True)
        ]
        return torch.stack(means).to(batch.dtype)[:, None, None]


class FrequencyMasking(SpecAugment):
    """One frequency mask for each clip; ``iid_masks=True`` in torchaudio.

    Parameters
    ----------
    freq_mask_param : int
        Largest width in bins.
    fill : {"mean", "zero"}
    """

    def __init__(self, freq_mask_param: int, fill: Fill = "zero") -> None:
        check_whole("freq_mask_param", freq_mask_param, 0, MAX_WIDTH)
        super().__init__(W=0, F=freq_mask_param, mF=1, T=0, mT=0, fill=fill)


class TimeMasking(SpecAugment):
    """One time mask for each clip; ``iid_masks=True`` in torchaudio.

    Parameters
    ----------
    time_mask_param : int
        Largest width in frames.
    p : float
        No mask is wider than this fraction of a clip's valid frames.
    fill : {"mean", "zero"}
    """

    def __init__(self, time_mask_param: int, p: float = 1.0, fill: Fill = "zero") -> None:
        check_whole("time_mask_param", time_mask_param, 0, MAX_WIDTH)
        super().__init__(W=0, F=0, mF=0, T=time_mask_param, mT=1, p=p, fill=fill)


def _stripe(size: int, start: Tensor, width: Tensor, device: torch.device) -> Tensor:
    """(batch, size) bool: from ``start`` on, ``width`` wide."""
    place = torch.arange(size, device=device)
    first, stop = start.to(device)[:, None], (start + width).to(device)[:, None]
    return (place >= first) & (place < stop)


def _warped(batch: Tensor, lengths: Tensor, most: int, draws: Draws) -> Tensor:
    """A frame of each clip is moved along time; what lies before and after gives way linearly."""
    # the ends stay, and the frame stays between them
    reach = torch.minimum(torch.tensor(most), ((lengths - 2) // 2).clamp(min=0))
    middle = reach + draws.integers((lengths - 1 - 2 * reach).clamp(min=0))
    target = (middle + draws.integers(2 * reach) - reach).to(batch.device)[:, None]
    middle, last = middle.to(batch.device)[:, None], (lengths - 1).to(batch.device)[:, None]
    place = torch.arange(batch.shape[-1], device=batch.device, dtype=torch.float64)
    before = place * middle / target.clamp(min=1)
    after = middle + (place - target) * (last - middle) / (last - target).clamp(min=1)
    source = torch.where(place < target, before, after)
    source = torch.where((place > last) | (target == middle), place, source)
    left = source.floor().long().clamp(0, batch.shape[-1] - 1)
    right = (left + 1).clamp(max=batch.shape[-1] - 1)
    weight = (source - left).to(batch.dtype)[:, None]
    index = (len(batch), batch.shape[1], batch.shape[2])
    here = batch.gather(2, left[:, None].expand(index))
    following = batch.gather(2, right[:, None].expand(index))
    return torch.where(weight > 0, (1.0 - weight) * here + weight * following, here)
