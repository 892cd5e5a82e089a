"""Kernel ``fft``: frames times window, then a real FFT. For the Fourier basis only."""

import torch
from torch import Tensor

from specctl.kernels import compiled, gpu
from specctl.kernels.base import Chain, Demand
from specctl.kernels.blocks import FrameKernel
from specctl.kernels.buffers import Buffers


class FftKernel(FrameKernel):
    """37 to 270 times fewer operations than the product with the basis, and exact float32."""

    name = "fft"
    takes_trained_basis = False

    def problem(self, demand: Demand) -> str | None:
        """FFTs are computed in float32 on every device."""
        if demand.precision != "fp32":
            return f"computes in fp32, not in {demand.precision}"
        return None

    def run(self, padded: Tensor, chain: Chain) -> Tensor:
        """Compiled for this processor or GPU where that is possible, else by torch in blocks."""
        if gpu.can_take(padded):
            return gpu.run_fft(padded, chain)
        if compiled.takes(padded, chain):
            return compiled.run(padded, chain)
        return super().run(padded, chain)

    def spectrum(self, frames: Tensor, chain: Chain) -> Tensor:
        """One-sided spectra of the windowed frames."""
        spectrum: Tensor = torch.fft.rfft(frames * chain.window)
        return spectrum

    def power_spectrum(self, frames: Tensor, chain: Chain) -> Tensor:
        """Squared magnitudes, without a square root on the way."""
        parts = torch.view_as_real(self.spectrum(frames, chain))
        return parts.square().sum(-1)

    def power_block(self, frames: Tensor, chain: Chain, buffers: Buffers) -> Tensor:
        """Squares in place: a strided product of real and imaginary parts costs thrice as much."""
        frames = frames.flatten(0, 1)
        n_frames = len(frames)
        dtype, device = frames.dtype, frames.device
        windowed = buffers.take("frames", (n_frames, chain.n_fft), dtype=dtype, device=device)
        # no out= for the FFT: torch would compute into fresh memory all the same and copy
        squares = torch.view_as_real(torch.fft.rfft(torch.mul(frames, chain.window, out=windowed)))
        squares.view(n_frames, -1).square_()
        power = buffers.take("power", (n_frames, chain.n_freqs), dtype=dtype, device=device)
        return torch.add(squares[..., 0], squares[..., 1], out=power)
