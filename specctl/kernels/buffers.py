"""Memory that is taken once and used for block after block."""

import math
import threading

import torch
from torch import Tensor


class Buffers(threading.local):
    """Named scratch tensors of one thread.

    A fresh block of a few MB costs more page faults than arithmetic, so on the CPU each name
    keeps its memory; CUDA's own allocator does the same already.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(
        self, name: str, shape: tuple[int, ...], *, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """A contiguous tensor with undefined contents, valid until ``name`` is taken again."""
        if device.type != "cpu":
            return torch.empty(shape, dtype=dtype, device=device)
        size = math.prod(shape)
        kept = self._kept.get((name, dtype))
        if kept is None or kept.numel() < size:
            kept = self._kept[name, dtype] = torch.empty(size, dtype=dtype)
        return kept[:size].view(shape)
