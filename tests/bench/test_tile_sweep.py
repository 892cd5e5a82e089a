"""Every tile that a GPU is to try is tried, as far as can be seen where nothing is started."""

import importlib
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which the test extra brings on Linux")

from specctl.kernels import gpu
from specctl.kernels.gpu import tiles
from tests.kernels.gpu.compiled import recorded_launches

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def tile_sweep(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("tile_sweep")
    monkeypatch.setattr(module, "DEVICE", "cpu")
    monkeypatch.setattr(module, "CLIPS", 1)
    monkeypatch.setattr(gpu, "problem", lambda device: None)
    monkeypatch.setattr(gpu, "can_take", lambda padded: True)
    return module


@pytest.mark.parametrize("kernel", tiles.TILES)
def test_every_kernel_is_timed_with_the_tile_that_is_tried(kernel, tile_sweep, monkeypatch):
    with recorded_launches(90, monkeypatch) as launches:
        ours = [each for each in tile_sweep.candidates() if each.kernel == kernel]
        used = tiles.tile_of(kernel, torch.device("cpu"))
        assert ours[0].tile == used
        assert len(ours) > 3
        # no tile has so many warps
        tried = ours[-1]._replace(tile=ours[-1].tile._replace(warps=32))
        row = tile_sweep.time_of(tried, rounds=1)
    assert row["status"] == "ok"
    assert 32 in [launch.options["num_warps"] for launch in launches]
