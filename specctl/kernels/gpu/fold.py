"""Kernel ``fold``: the Fourier basis as a product a quarter as deep, for short FFTs.

Four samples that meet the same cosine are added before the product, in float32; even and odd
bins are products of their own. Any window will do: it is applied first.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from specctl.kernels.base import Chain
from specctl.kernels.gpu.banding import Layout, used_bins
from specctl.kernels.gpu.jit.fold import folded_kernel, folding_kernel
from specctl.kernels.gpu.limbs import FORWARD, exponents_of, peaks_of, power_of_two
from specctl.kernels.gpu.pieces import MAX_FRAMES, Piece, frames_in, pieces
from specctl.kernels.gpu.target import Target
from specctl.kernels.gpu.tiles import INTERPRETED_FRAMES, is_interpreted, launch, tile_of

_SAMPLES = 2**23
"""Samples of all frames of a piece; folded, four bytes each."""
_BASIS_TOP = 13
"""A cosine times ``2 ** 13`` has all its bits in two fp16 limbs."""
_HEADROOM = 2
"""Four samples are added before they become fp16."""


class _Basis(NamedTuple):
    """Limbs of cosines and negative sines, each (2 parities, q + 1, depth), fp16."""

    cosine_high_ptr: Tensor
    cosine_low_ptr: Tensor
    sine_high_ptr: Tensor
    sine_low_ptr: Tensor


class _Folded(NamedTuple):
    """Frames of a piece: limbs, each (2 parities, n_frames, depth), and the middle samples."""

    even_high_ptr: Tensor
    even_low_ptr: Tensor
    odd_high_ptr: Tensor
    odd_low_ptr: Tensor
    middle_ptr: Tensor  # (n_frames,)


def compute(padded: Tensor, chain: Chain) -> Tensor:
    """All of ``chain`` without gradients; see `specctl.kernels.base.Kernel.run`."""
    n_times = frames_in(padded, chain)
    bins = used_bins(chain.bands, chain.n_freqs)
    pairs = slice(bins.start // 2, (bins.stop + 1) // 2)
    tile = tile_of("folded", padded.device)
    blocks = _blocks(pairs, tile.columns, chain.n_freqs)
    target = Target(padded, chain, n_times, Layout("parities", blocks, tile.bands))
    depth = -(-(chain.n_fft // 4) // tile.depth) * tile.depth
    basis = _fold_basis(chain.n_fft // 4, depth, padded.device)
    exponents = exponents_of(_windowed_peaks(padded, chain.window), FORWARD["fp32"]) - _HEADROOM
    most = min(_SAMPLES // chain.n_fft, MAX_FRAMES)
    if is_interpreted(padded.device):
        most = INTERPRETED_FRAMES
    for piece in pieces(len(padded), n_times, target.capacity(most)):
        by = exponents[piece.items]
        folded = _fold(piece.samples(padded, chain), chain, piece, by, depth)
        _multiply(folded, basis, pairs, by, piece, target)
        # or they would be there beside those of the next piece
        del folded
    return target.out


def _windowed_peaks(padded: Tensor, window: Tensor) -> Tensor:
    """What no sample of an item times the window exceeds, (batch,)."""
    bounds = peaks_of(padded) * window.abs().amax()
    # of an infinite one there is no exponent
    return bounds.clamp_max(torch.finfo(bounds.dtype).max)


def _fold(samples: Tensor, chain: Chain, piece: Piece, by: Tensor, depth: int) -> _Folded:
    tile = tile_of("folding", samples.device)
    shape = (2, piece.n_frames, depth)
    even, even_low, odd, odd_low = (
        torch.empty(shape, dtype=torch.float16, device=samples.device) for _ in range(4)
    )
    folded = _Folded(even, even_low, odd, odd_low, samples.new_empty(piece.n_frames))
    launch(
        folding_kernel,
        (-(-depth // tile.columns), -(-piece.n_frames // tile.rows)),
        tile,
        samples_ptr=samples,
        window_ptr=chain.window.contiguous(),
        scale_ptr=power_of_two(by),
        **folded._asdict(),
        row_stride=samples.stride(0),
        n_times=piece.n_times,
        n_frames=piece.n_frames,
        n_rows=piece.n_frames,
        HOP=chain.hop_length,
        Q=chain.n_fft // 4,
        DEPTH=depth,
        BLOCK_FRAMES=tile.rows,
        BLOCK_TAPS=tile.columns,
    )
    return folded


def _multiply(
    folded: _Folded, basis: _Basis, pairs: slice, by: Tensor, piece: Piece, target: Target
) -> None:
    chain = target.chain
    tile = tile_of("folded", by.device)
    sums = target.sums(piece)
    arguments: dict[str, Any] = {**folded._asdict(), **basis._asdict()}
    launch(
        folded_kernel,
        (target.n_blocks, -(-piece.n_frames // tile.rows)),
        tile,
        **arguments,
        unscale_ptr=power_of_two(-by - _BASIS_TOP),
        **target.arguments(piece, sums),
        first_pair=pairs.start,
        n_blocks=target.n_blocks // 2,
        n_rows=piece.n_frames,
        n_bins=chain.n_freqs,
        basis_scale=2.0**_BASIS_TOP,
        COMPLEX=chain.power is None,
        Q=chain.n_fft // 4,
        DEPTH=folded.even_high_ptr.shape[2],
        BLOCK_FRAMES=tile.rows,
        BLOCK_BINS=tile.columns,
        BLOCK_DEPTH=tile.depth,
    )
    target.finish(piece, sums)


def _blocks(pairs: slice, block_bins: int, n_freqs: int) -> Tensor:
    """Bins of each block, those of the even parity first."""
    pair = torch.arange(pairs.start, pairs.stop)
    pair = torch.nn.functional.pad(pair, (0, -len(pair) % block_bins), value=n_freqs)
    both = torch.stack([2 * pair, 2 * pair + 1])
    return both.clamp_max(n_freqs).reshape(-1, block_bins)


@lru_cache(maxsize=8)
def _fold_basis(q: int, depth: int, device: torch.device) -> _Basis:
    pair, tap = torch.arange(q + 1)[:, None], torch.arange(q)
    # slot 0 of the sines, which sin 0 leaves free, holds the sample in the middle
    middle = torch.where(tap == 0, q, tap)
    cosines, sines = torch.zeros(2, 2, q + 1, depth, dtype=torch.float64)
    for parity in (0, 1):
        turn = math.pi / (2 * q)
        cosines[parity, :, :q] = torch.cos((2 * pair + parity) * tap % (4 * q) * turn)
        sines[parity, :, :q] = -torch.sin((2 * pair + parity) * middle % (4 * q) * turn)
    sines[0, :, 0] = 0.0
    return _Basis(*(limb.to(device) for values in (cosines, sines) for limb in _halves(values)))


def _halves(values: Tensor) -> tuple[Tensor, Tensor]:
    scaled = values * 2.0**_BASIS_TOP
    high = scaled.to(torch.float16)
    return high, (scaled - high.double()).to(torch.float16)
