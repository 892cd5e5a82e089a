"""Short items side by side in one product, where that changes no bit of any of them.

A product reads the whole basis, however few its columns are, so that items of a few frames each
take many times as long one by one. But libraries choose how they multiply by the shapes that they
are given. Those known give a float32 column the same bits wherever it stands among at least
`specctl.kernels.sizes.FEWEST_COLUMNS`; as nobody promises that, it is tried once.
"""

from collections.abc import Callable, Hashable
from functools import partial

import torch
from torch import Tensor

from specctl.kernels.base import Chain
from specctl.kernels.crew import side_by_side
from specctl.kernels.overlap import Overlap

_CUTS = [1, 3, 8, 31]
"""Where items that were computed together are cut, to be computed again in smaller numbers."""

_TRIED: dict[Hashable, bool] = {}

Run = Callable[[Tensor], Tensor]
"""From samples or frames to values, items first in both."""


def are_joined(
    run: Run,
    shape: tuple[int, int],
    like: Tensor,
    chain: Chain,
    *,
    trains: bool,
    overlap: Overlap | None = None,
) -> bool:
    """Whether ``run`` makes of items together what it makes of each alone, to the last bit.

    Noise of this shape is tried, of the type of ``like``; ``trains`` says that each product is
    computed by one thread, ``overlap`` how it is. The numbers of ``chain`` do not matter.
    """
    if like.device.type != "cpu":
        return False
    basis = None if chain.basis is None else chain.basis.shape
    bands = None if chain.bands is None else (chain.bands.mel.shape, chain.bands.mel.requires_grad)
    settings = (chain.power, bands, chain.log, chain.precision)
    key = (trains, overlap, basis, settings, like.dtype, torch.get_num_threads())
    if key not in _TRIED:
        # the same each time, and nothing is taken from the noise that others draw
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(shape, generator=generator, dtype=like.dtype, device="cpu")
        _TRIED[key] = _are_same_alone(run, noise, trains)
    return _TRIED[key]


@torch.no_grad()
def _are_same_alone(run: Run, items: Tensor, trains: bool) -> bool:
    tasks = [partial(run, some) for some in (items, *items.tensor_split(_CUTS))]
    together, *alone = side_by_side(tasks, items.device) if trains else [task() for task in tasks]
    return torch.equal(torch.cat(alone), together)
