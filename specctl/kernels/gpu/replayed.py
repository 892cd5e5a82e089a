"""Gradients of the kernels that have no backward pass of their own, in bounded memory.

The forward pass keeps nothing but its inputs. The backward pass goes through the same pieces in
plain torch, lets autograd differentiate each, and adds up what they give.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from specctl.errors import KernelError
from specctl.kernels.bands import Bands
from specctl.kernels.base import Chain
from specctl.kernels.blocks import raised
from specctl.kernels.gpu.pieces import Piece, frames_in, pieces
from specctl.kernels.gpu.tiles import device_of
from specctl.kernels.precision import product
from specctl.kernels.traced import followed_gradients, is_followed_again

Compute = Callable[[Tensor, Chain], Tensor]

_SAMPLES = 2**22
"""Samples of all frames that are differentiated at once: up to ten times 16 MB are kept."""


def run(
    compute: Compute, padded: Tensor, chain: Chain, differentiable: Compute | None = None
) -> Tensor:
    """``compute``, differentiable in the waveforms and in every weight of the chain.

    ``differentiable`` is the same with a backward pass of its own, where there is one.
    """
    if padded.stride(-1) != 1:
        padded = padded.contiguous()
    with device_of(padded):
        if not (torch.is_grad_enabled() and (padded.requires_grad or chain.requires_grad)):
            with torch.no_grad():
                return compute(padded, chain)
        if differentiable is not None:
            return differentiable(padded, chain)
        mel = chain.bands.mel if chain.bands is not None else None
        spec: Tensor = _Replayed.apply(  # type: ignore[no-untyped-call]
            padded, chain.window, chain.basis, mel, chain, compute
        )
        return spec


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        padded: Tensor,
        window: Tensor,
        basis: Tensor | None,
        mel: Tensor | None,
        chain: Chain,
        compute: Compute,
    ) -> Tensor:
        ctx.save_for_backward(padded, window, basis, mel)
        ctx.chain = replace(chain, window=window.detach(), basis=None, bands=None)
        return compute(padded, chain)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, chain = ctx.saved_tensors, ctx.chain
        wants = ctx.needs_input_grad[: len(inputs)]
        if is_followed_again(gradient):
            padded, window, basis, mel = inputs
            bands = None if mel is None else Bands(mel)
            chain = replace(chain, window=window, basis=basis, bands=bands)
            wanted = [saved if wants[i] else None for i, saved in enumerate(inputs)]
            return (
                *followed_gradients(gradient, padded, 0, "constant", chain, wanted),
                None,
                None,
            )
        totals = [torch.zeros_like(saved) if wants[i] else None for i, saved in enumerate(inputs)]
        with device_of(gradient):
            n_times = frames_in(inputs[0], chain)
            capacity = max(1, _SAMPLES // chain.n_fft)
            for piece in pieces(len(gradient), n_times, capacity):
                _add_piece(piece, inputs, totals, gradient, chain)
        return (*totals, None, None)


def _add_piece(
    piece: Piece,
    inputs: Sequence[Tensor | None],
    totals: Sequence[Tensor | None],
    gradient: Tensor,
    chain: Chain,
) -> None:
    """Add what one piece gives to those of ``totals`` that are wanted; waveforms come first."""
    leaves, places = [], []
    for i, (saved, total) in enumerate(zip(inputs, totals, strict=True)):
        used = piece.samples(saved, chain) if i == 0 and saved is not None else saved
        leaf = None if used is None else used.detach().requires_grad_(total is not None)
        leaves.append(leaf)
        if leaf is not None and total is not None:
            places.append((leaf, piece.samples(total, chain) if i == 0 else total))
    with torch.enable_grad():
        spec = _plain(leaves, chain)
    given = gradient[piece.items, :, piece.times]
    # a window has no effect of its own where a basis holds it
    found = torch.autograd.grad(spec, [leaf for leaf, _ in places], given, allow_unused=True)
    for (_, place), part in zip(places, found, strict=True):
        if part is not None:
            place.add_(part)


def _plain(leaves: Sequence[Tensor | None], chain: Chain) -> Tensor:
    """The chain in torch; samples (items, samples), window, basis and mel to its result."""
    samples, window, basis, mel = leaves
    if samples is None or window is None:
        raise KernelError("gradients need waveforms and a window")
    frames = samples.unfold(-1, chain.n_fft, chain.hop_length)
    spectra = _spectra(frames, window, basis, chain).transpose(-1, -2)
    if chain.power is None:
        return spectra
    power = torch.view_as_real(spectra).square().sum(-1)
    values = raised(power, chain.power / 2)
    if mel is not None:
        values = Bands(mel).dense(values.transpose(-1, -2), chain.precision).transpose(-1, -2)
    return chain.log.apply(values) if chain.log is not None else values


def _spectra(frames: Tensor, window: Tensor, basis: Tensor | None, chain: Chain) -> Tensor:
    if basis is None:
        spectra: Tensor = torch.fft.rfft(frames * window)
        return spectra
    parts = product(frames, basis, chain.precision)
    return torch.complex(parts[..., : chain.n_freqs], parts[..., chain.n_freqs :])
