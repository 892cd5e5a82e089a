"""Kernel ``fold``: the Fourier basis as a product a quarter as deep. For short FFTs on a GPU."""

from torch import Tensor

from specctl.kernels import gpu
from specctl.kernels.base import Chain, Demand, Kernel
from specctl.kernels.fft import FftKernel

MAX_N_FFT = 512
"""Longer products cost more than reading and writing the frames of an FFT does."""

_OTHERWISE = FftKernel()
"""For float64, and for batches of nothing."""


class FoldKernel(Kernel):
    """Products on tensor cores, as exact as float32, with nothing but the result in memory."""

    name = "fold"
    takes_trained_basis = False

    def problem(self, demand: Demand) -> str | None:
        """Short FFTs of a multiple of 4, on a device that runs Triton."""
        problem = gpu.problem(demand.device)
        if problem is not None:
            return problem
        n_fft = demand.config.n_fft
        if n_fft > MAX_N_FFT or n_fft % 4:
            return f"needs n_fft to be a multiple of 4 and at most {MAX_N_FFT}, got {n_fft}"
        if demand.precision != "fp32":
            return f"computes in fp32, not in {demand.precision}"
        return None

    def run(self, padded: Tensor, chain: Chain) -> Tensor:
        """All of ``chain``; differentiable in waveforms, window and bands."""
        if gpu.can_take(padded):
            return gpu.run_fold(padded, chain)
        return _OTHERWISE.run(padded, chain)
