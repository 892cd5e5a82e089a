"""What the kernels take in memory on a GPU, by what they ask for where no kernel is started."""

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which the test extra brings on Linux")

from triton.runtime.jit import JITFunction

from specctl.bench.memory import _torch_peak
from specctl.kernels import gpu
from specctl.kernels.gpu import tiles
from specctl.kernels.registry import KERNELS

from .chains import transform_of

SPEECH = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 8}
MOST_BYTES = 192 * 2**20
"""A quarter less than the gate of a GPU allows: cuFFT takes memory of its own there."""


@pytest.mark.parametrize("kernel", KERNELS)
def test_memory_does_not_grow_with_the_length(kernel, monkeypatch):
    monkeypatch.setattr(gpu, "can_take", lambda padded: True)
    monkeypatch.setattr(tiles, "capability", lambda device: 90)
    monkeypatch.setattr(JITFunction, "run", lambda *_, **__: None)
    chain = transform_of("dense" if kernel == "conv" else kernel, SPEECH)._chain()
    used = []
    for minutes in (20, 60):
        padded = torch.zeros(1, minutes * 60 * 16000)
        n_frames = 1 + (padded.shape[1] - chain.n_fft) // chain.hop_length
        peak = _torch_peak(lambda padded=padded: KERNELS[kernel].run(padded, chain))
        used.append(peak - 4 * chain.n_bins * n_frames)
    assert used[1] <= used[0] + 2**20
    assert used[1] <= MOST_BYTES
