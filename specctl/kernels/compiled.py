"""The compiled transform for tensors: which calls it can take, and all cores for long ones."""

from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from specctl.dsp.decibel import LogScale
from specctl.kernels.base import Chain
from specctl.kernels.crew import side_by_side
from specctl.kernels.native.program import Logarithm
from specctl.kernels.native.spectrogram import NativeSpectrogram, problem
from specctl.kernels.snapshot import Snapshot

_SHARE_FRAMES = 2048
"""Fewest frames for a thread of their own: 1 ms of work at 1024 samples each."""

_MOST_KEPT = 16

_Share = tuple[int, int, int]  # item, first frame, end


def takes(padded: Tensor, chain: Chain) -> bool:
    """Whether `run` can compute this; what it cannot is left to torch."""
    return (
        padded.device.type == "cpu"
        and padded.dtype == torch.float32
        and not (torch.is_grad_enabled() and (padded.requires_grad or chain.requires_grad))
        and problem(chain.n_fft, chain.power) is None
    )


def run(padded: Tensor, chain: Chain) -> Tensor:
    """`specctl.kernels.base.Kernel.run` for what `takes` says yes to."""
    spectrogram = _kept.take(chain)
    samples = np.ascontiguousarray(padded.detach().numpy())
    n_frames = spectrogram.n_frames(samples.shape[1])
    dtype = torch.complex64 if chain.power is None else torch.float32
    shape = (len(samples), chain.n_bins, n_frames)
    result = torch.empty(shape, dtype=dtype, device=padded.device)
    out = torch.view_as_real(result).numpy() if chain.power is None else result.numpy()
    hop = chain.hop_length

    def compute(share: _Share) -> None:
        item, first, end = share
        stretch = samples[item, first * hop : (end - 1) * hop + chain.n_fft]
        spectrogram(stretch, out[item][:, first:end])

    shares = _shares(len(samples), n_frames)
    side_by_side([partial(compute, share) for share in shares], padded.device)
    return result


def _shares(n_items: int, n_frames: int) -> list[_Share]:
    """What each call computes."""
    wanted = -(-torch.get_num_threads() // max(1, n_items))
    n_parts = max(1, min(wanted, n_frames // _SHARE_FRAMES))
    ends = [n_frames * (part + 1) // n_parts for part in range(n_parts)]
    return [
        (item, first, end)
        for item in range(n_items)
        for first, end in zip([0, *ends[:-1]], ends, strict=True)
        if end > first
    ]


class _Made(NamedTuple):
    """Tables and code of a chain, and the weights they were made of.

    It holds on to none of its tensors; what has taken the id of one differs in its numbers.
    """

    window: Snapshot
    mel: Snapshot | None
    spectrogram: NativeSpectrogram

    @classmethod
    def of(cls, chain: Chain) -> "_Made":
        """Tables of the weights as they are now."""
        window, filterbank = Snapshot(chain.window), _mel(chain)
        mel = None if filterbank is None else Snapshot(filterbank)
        spectrogram = NativeSpectrogram(
            window.values.numpy(),
            chain.hop_length,
            power=chain.power,
            mel=None if mel is None else mel.values.numpy(),
            log=logarithm(chain.log),
        )
        return cls(window, mel, spectrogram)

    def is_of(self, chain: Chain) -> bool:
        """Whether the weights still hold the same numbers."""
        mel = _mel(chain)
        is_same_mel = self.mel is None or mel is None or self.mel.is_of(mel)
        return is_same_mel and self.window.is_of(chain.window)


class _Kept:
    """Tables and code of the chains used last."""

    def __init__(self) -> None:
        self._made: OrderedDict[object, _Made] = OrderedDict()

    def take(self, chain: Chain) -> NativeSpectrogram:
        """Those of a chain, made again when its weights are others or were changed."""
        key = (id(chain.window), id(_mel(chain)), chain.hop_length, chain.power, chain.log)
        made = self._made.pop(key, None)
        if made is None or not made.is_of(chain):
            made = _Made.of(chain)
        self._made[key] = made
        while len(self._made) > _MOST_KEPT:
            self._made.popitem(last=False)
        return made.spectrogram


_kept = _Kept()


def _mel(chain: Chain) -> Tensor | None:
    return None if chain.bands is None else chain.bands.mel


def logarithm(log: LogScale | None) -> Logarithm | None:
    """The part of a scale that looks at single values."""
    return None if log is None else Logarithm(log.factor, log.amin, log.offset)
