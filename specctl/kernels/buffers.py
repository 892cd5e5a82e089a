"""Memory that is taken once and used for block after block."""

import math
import threading

import torch
from torch import Tensor

_KEPT_BYTES = 2**24
"""Freed memory up to this size should stay with the process; a block's spectra need 4 MB."""


class Buffers(threading.local):
    """Named scratch tensors of one thread.

    A fresh block of a few MB costs more page faults than arithmetic, so on the CPU each name
    keeps its memory; CUDA's own allocator does the same already.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, torch.dtype], Tensor] = {}
        # glibc gives large freed blocks back to the system, to be faulted in again for the next
        # FFT, unless it has seen one of their size freed before; never touched, this costs nothing
        torch.empty(_KEPT_BYTES, dtype=torch.uint8, device="cpu")

    def take(
        self, name: str, shape: tuple[int, ...], *, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """A contiguous tensor with undefined contents, valid until ``name`` is taken again."""
        if device.type != "cpu":
            return torch.empty(shape, dtype=dtype, device=device)
        size = math.prod(shape)
        kept = self._kept.get((name, dtype))
        if kept is None or kept.numel() < size:
            # a tensor of inference mode could not be written to outside of it
            with torch.inference_mode(False):
                kept = torch.empty(size, dtype=dtype, device=device)
                self._kept[name, dtype] = kept
        return kept[:size].view(shape)
