"""Tile sizes by kernel and compute capability, and how a Triton program is started with them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

INTERPRETED = 0
"""Stands for Triton's interpreter on a CPU."""

INTERPRETED_FRAMES = 96
"""Frames of a piece there: several pieces and tiles of little audio."""


class Tile(NamedTuple):
    """How much one program computes, and with how many threads.

    ``rows`` and ``columns`` are the sides of the tile, ``depth`` what is summed in one step,
    ``bands`` how many mel bands the tile is multiplied with at once; all powers of two.
    """

    rows: int
    columns: int
    depth: int = 16
    warps: int = 4
    stages: int = 1
    bands: int = 64


TILES: Mapping[str, Mapping[int, Tile]] = {
    # frames x bins x taps; a bin is two columns of the product
    "dense_bands": {
        INTERPRETED: Tile(64, 32, 64, bands=16),
        80: Tile(128, 64, 32, warps=8, stages=3, bands=32),
        90: Tile(128, 128, 32, warps=8, stages=3),
        100: Tile(128, 64, 32, warps=8, stages=3, bands=32),
    },
    # stores more than a few bands, or has more bands than are multiplied at once
    "dense": {
        INTERPRETED: Tile(64, 32, 64, bands=16),
        80: Tile(128, 64, 32, warps=8, stages=3, bands=32),
        90: Tile(128, 64, 32, warps=8, stages=4),
        120: Tile(128, 64, 32, warps=8, stages=3, bands=32),
    },
    "parts_gradient": {
        INTERPRETED: Tile(64, 32, 64, bands=16),
        80: Tile(128, 64, 32, warps=8, stages=3, bands=32),
        100: Tile(128, 32, 64, warps=8, stages=3, bands=32),
        120: Tile(128, 64, 32, warps=8, stages=3, bands=32),
    },
    # rows of the basis x taps x frames
    "basis_gradient": {
        INTERPRETED: Tile(64, 64, 64),
        80: Tile(128, 128, 32, warps=8, stages=3),
        90: Tile(128, 128, 64, warps=8, stages=2),
        120: Tile(128, 128, 32, warps=8, stages=3),
    },
    # hops x samples of a hop x columns of the gradient
    "waveform_gradient": {
        INTERPRETED: Tile(64, 64, 64),
        80: Tile(128, 64, 32, warps=8, stages=3),
        90: Tile(128, 64, 32, warps=8, stages=3),
    },
    # frames x bins of one parity x folded taps
    "folded": {
        INTERPRETED: Tile(64, 32, 32, bands=16),
        80: Tile(64, 64, 32, warps=4, stages=2, bands=32),
        90: Tile(128, 64, 32, warps=8, stages=2),
        120: Tile(64, 64, 32, warps=8, stages=2, bands=32),
    },
    "folding": {
        INTERPRETED: Tile(64, 32),
        80: Tile(16, 64),
    },
    # frames x samples
    "frames": {
        INTERPRETED: Tile(64, 128),
        80: Tile(8, 256),
    },
    # frames x bins
    "spectrum": {
        INTERPRETED: Tile(64, 32, bands=16),
        80: Tile(32, 64),
    },
}
"""Each entry serves its capability and newer ones, up to the next entry.

12.0 has the products and the shared memory of 8.6, not those of 9.0 and 10.0. 10.0 multiplies in
a memory of its own, which takes the product with a basis and that with a few bands.
"""


def capability(device: torch.device) -> int:
    """80 for compute capability 8.0 and so on; `INTERPRETED` on a CPU."""
    if device.type != "cuda":
        return INTERPRETED
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def is_interpreted(device: torch.device) -> bool:
    """Whether Triton's interpreter runs the kernels, on a CPU."""
    return capability(device) == INTERPRETED


def tile_of(kernel: str, device: torch.device) -> Tile:
    """The tile of a kernel on a device."""
    available = capability(device)
    return TILES[kernel][max(known for known in TILES[kernel] if known <= available)]


@contextmanager
def device_of(tensor: torch.Tensor) -> Iterator[None]:
    """Start kernels on the device of ``tensor`` inside the block."""
    with torch.cuda.device_of(tensor):  # type: ignore[no-untyped-call]
        yield


def launch(kernel: Any, grid: tuple[int, ...], tile: Tile, /, **arguments: Any) -> None:
    """Start one program for each place of ``grid``; arguments by the names of the kernel."""
    # fused multiply-adds, as Triton before 3.10 does unasked
    kernel[grid](**arguments, num_warps=tile.warps, num_stages=tile.stages, enable_fp_fusion=True)
