"""Kernel ``conv`` on a GPU with gradients: nothing the size of the spectra is kept.

Kept are the waveforms, the basis, the bands, and of a logarithm of bands a copy, so that the
result may be changed in place. The backward pass computes real and imaginary parts again, piece by
piece, and turns them into the gradients in themselves on the spot; two products take these to the
basis and to the waveforms.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from specctl.dsp.decibel import LogScale
from specctl.kernels.bands import Bands
from specctl.kernels.base import Chain
from specctl.kernels.gpu import dense
from specctl.kernels.gpu.backward import Backward
from specctl.kernels.gpu.pieces import frames_in, pieces
from specctl.kernels.gpu.replayed import run
from specctl.kernels.gpu.target import floor_of
from specctl.kernels.gpu.tiles import device_of
from specctl.kernels.traced import followed_gradients, is_followed_again


def run_trained(padded: Tensor, chain: Chain) -> Tensor:
    """All of ``chain``, differentiable in waveforms, basis and bands."""
    return run(dense.compute, padded, chain, _differentiable)


def _differentiable(padded: Tensor, chain: Chain) -> Tensor:
    mel = chain.bands.mel if chain.bands is not None else None
    spec: Tensor = _Dense.apply(padded, chain.basis, mel, chain)  # type: ignore[no-untyped-call]
    return spec


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, padded: Tensor, basis: Tensor, mel: Tensor | None, chain: Chain
    ) -> Tensor:
        chain = replace(chain, basis=basis.detach())
        spec = dense.compute(padded, chain)
        logs = spec.clone() if chain.log is not None and mel is not None else None
        ctx.save_for_backward(padded, basis, mel, logs)
        # the basis is kept above, where autograd sees when somebody changes it
        ctx.chain = replace(chain, basis=None)
        return spec

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        padded, basis, mel, logs = ctx.saved_tensors
        chain = replace(ctx.chain, basis=basis)
        if is_followed_again(gradient):
            chain = replace(chain, bands=None if mel is None else Bands(mel))
            inputs = zip((padded, basis, mel), ctx.needs_input_grad, strict=False)
            wanted = [tensor if is_wanted else None for tensor, is_wanted in inputs]
            return (*followed_gradients(gradient, padded, 0, "constant", chain, wanted), None)
        wants_waveform, wants_basis, wants_mel = ctx.needs_input_grad[:3]
        with device_of(padded):
            work = Backward(
                padded,
                chain,
                d_waveform=wants_waveform,
                d_basis=wants_basis,
                d_mel=wants_mel,
            )
            for piece in pieces(len(padded), frames_in(padded, chain), work.capacity):
                values = gradient[piece.items, :, piece.times]
                if chain.log is not None and logs is not None:
                    values = _through_log(values, logs[piece.items, :, piece.times], chain.log)
                work.add(piece, values.contiguous())
            return work.d_waveform, work.d_basis, work.d_mel, None


def _through_log(gradient: Tensor, logs: Tensor, log: LogScale) -> Tensor:
    """From the gradient in the logarithms to that in their arguments; 0 on the floor."""
    per_neper = log.factor / math.log(10.0)
    slope = gradient * torch.exp((logs + log.offset) * (-1.0 / per_neper)) * per_neper
    # the floor as float32, where the kernel has written it
    floor = torch.tensor(floor_of(log), dtype=logs.dtype).item()
    return slope.masked_fill(logs <= floor, 0.0)
