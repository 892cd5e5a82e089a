"""Modules whose constants are in no checkpoint."""

from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def put(weight: Tensor, numbers: Tensor) -> None:
    """Write numbers into a weight, of which a process may hold a part, as with FSDP."""
    if not hasattr(weight, "placements"):
        weight.copy_(numbers)
        return
    from torch.distributed.tensor.experimental import implicit_replication

    with implicit_replication():
        weight.copy_(numbers.to(weight.device))


class WithConstants(nn.Module):
    """A module that fills a constant again when memory with nothing in it is put in its place.

    So does ``from_pretrained`` of the package transformers with every buffer that is not kept in
    checkpoints, after it has built the model on the meta device.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get("_buffers", {}).get(name)
        super().__setattr__(name, value)
        had_memory = before is None or not before.is_meta
        if not had_memory and isinstance(value, Tensor) and not value.is_meta:
            put(value, self.first_value(name))

    def first_value(self, name: str) -> Tensor:
        """The numbers of a constant; what children define."""
        raise NotImplementedError
