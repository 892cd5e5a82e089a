"""Tiles that may be faster than those of ``specctl/kernels/gpu/tiles.py``, and what they take."""

import statistics
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from specctl.bench.timing import timer_for
from specctl.kernels.gpu import tiles
from specctl.kernels.gpu.tiles import Tile
from specctl.transforms import Transform

DEVICE = "cuda"
CLIPS = 32
_MUSIC = {"sample_rate": 22050, "n_fft": 1024, "hop_length": 256}
DENSE = {**_MUSIC, "feature": "mel", "n_mels": 80}
SHORT = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "feature": "mel", "n_mels": 80}

# (kernel of specctl, its settings, whether the basis is trained) by tile
USES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "dense_bands": ("conv", DENSE, False),
    "dense": ("conv", {**_MUSIC, "feature": "magnitude"}, False),
    "parts_gradient": ("conv", DENSE, True),
    "basis_gradient": ("conv", DENSE, True),
    "waveform_gradient": ("conv", DENSE, True),
    "folded": ("fold", SHORT, False),
    "folding": ("fold", SHORT, False),
    "frames": ("fft", DENSE, False),
    "spectrum": ("fft", DENSE, False),
}
SIDES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "dense_bands": ((128, 128, 32), (128, 64, 64), (128, 64, 32), (256, 64, 32)),
    "dense": ((128, 64, 32), (128, 64, 64), (128, 32, 64), (64, 64, 64)),
    "parts_gradient": ((128, 64, 32), (128, 64, 64), (128, 32, 64), (64, 64, 32)),
    "basis_gradient": ((128, 128, 64), (128, 128, 32), (128, 256, 32), (64, 128, 64)),
    "waveform_gradient": ((128, 64, 32), (128, 128, 32), (64, 128, 32), (64, 64, 32)),
    "folded": ((128, 64, 32), (64, 64, 32), (128, 32, 32), (128, 32, 64)),
    "folding": ((16, 64, 16), (32, 32, 16), (32, 64, 16), (8, 128, 16)),
    "frames": ((8, 256, 16), (4, 512, 16), (16, 128, 16), (2, 1024, 16)),
    "spectrum": ((32, 64, 16), (64, 32, 16), (64, 64, 16), (32, 128, 16)),
}
STAGES = {"folding": (1,), "frames": (1,), "spectrum": (1,)}


class Candidate(NamedTuple):
    """A tile to try for one kernel."""

    kernel: str
    tile: Tile


def candidates() -> Iterator[Candidate]:
    """Those in use first, then the others."""
    for kernel in USES:
        used = tiles.tile_of(kernel, torch.device(DEVICE))
        yield Candidate(kernel, used)
        for rows, columns, depth in SIDES[kernel]:
            warps = 8 if rows * columns >= 2**13 else 4
            for stages in STAGES.get(kernel, (2, 3)):
                tile = Tile(rows, columns, depth, warps, stages, used.bands)
                if tile != used:
                    yield Candidate(kernel, tile)


def time_of(candidate: Candidate, rounds: int) -> dict[str, Any]:
    """A row of the record: median seconds of the whole call, or why there are none."""
    row = {"kernel": candidate.kernel, "tile": candidate.tile._asdict()}
    changed = {**tiles.TILES, candidate.kernel: {tiles.INTERPRETED: candidate.tile}}
    try:
        with patch.object(tiles, "TILES", changed):
            call = _call_of(candidate)
            timer = timer_for(DEVICE)
            for _ in range(3):
                call()
            samples = [timer.time(call).seconds for _ in range(rounds)]
    except Exception as problem:  # a tile that does not fit is an answer too
        return {**row, "status": f"{type(problem).__name__}: {str(problem)[:200]}"}
    return {**row, "status": "ok", "median_s": statistics.median(samples), "n": len(samples)}


def _call_of(candidate: Candidate) -> Callable[[], object]:
    kernel, settings, is_trained = USES[candidate.kernel]
    with torch.device(DEVICE):
        transform = Transform(
            kernel=kernel, trainable=("basis",) if is_trained else (), **settings
        )
        waveform = torch.randn(CLIPS, 30 * settings["sample_rate"])
    if not is_trained:
        return torch.no_grad()(lambda: transform(waveform))
    needs_samples = candidate.kernel == "waveform_gradient"
    waveform.requires_grad_(needs_samples)

    def step() -> None:
        transform.zero_grad()
        transform(waveform).mean().backward()

    return step
