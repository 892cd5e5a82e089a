"""Kernel ``conv`` on a GPU: frames times any basis, straight from the waveform."""

from typing import Any, NamedTuple

from torch import Tensor

from specctl.errors import KernelError
from specctl.kernels.base import Chain
from specctl.kernels.gpu.banding import Layout, used_bins
from specctl.kernels.gpu.jit.dense import dense_kernel
from specctl.kernels.gpu.limbs import (
    FORWARD,
    Format,
    Limbs,
    exponents_of,
    peaks_of,
    split,
)
from specctl.kernels.gpu.pieces import Piece, frames_in, pieces
from specctl.kernels.gpu.target import Target, blocks_of
from specctl.kernels.gpu.tiles import INTERPRETED_FRAMES, Tile, is_interpreted, launch, tile_of

_CAPACITY = 2**16
_SAMPLES = 2**25
"""Samples whose limbs stand in memory at once: 128 MB."""
_ALIGNMENT = 16


class Operands(NamedTuple):
    """Both sides of the product of a whole call."""

    kept: Format
    bins: slice
    basis: Limbs  # (2 * bins, taps), rows real, imaginary, real, …
    taps: int
    exponents: Tensor  # (batch,) of the items


def compute(padded: Tensor, chain: Chain) -> Tensor:
    """All of ``chain`` without gradients; see `specctl.kernels.base.Kernel.run`."""
    tile = tile_of(_tile_name(chain), padded.device)
    operands = operands_of(padded, chain, tile)
    n_times = frames_in(padded, chain)
    target = Target(padded, chain, n_times, layout_of(chain, operands.bins, tile))
    for piece in pieces(len(padded), n_times, target.capacity(capacity(padded, chain))):
        _write(piece, padded, operands, target, tile)
    return target.out


def capacity(padded: Tensor, chain: Chain) -> int:
    """Frames whose samples' limbs fit the memory for them."""
    if is_interpreted(padded.device):
        return INTERPRETED_FRAMES
    # short items are as long as their frames overlap, long ones a hop a frame
    n_times = frames_in(padded, chain)
    for_each = max(1, padded.shape[-1] // n_times)
    return max(1, min(_CAPACITY, _SAMPLES // for_each))


def operands_of(padded: Tensor, chain: Chain, tile: Tile) -> Operands:
    """Split the basis, and look how loud each item is."""
    if chain.basis is None:
        raise KernelError("kernel 'conv' needs a basis, got none")
    kept = FORWARD[chain.precision]
    bins = used_bins(chain.bands, chain.n_freqs)
    rows = interleaved(chain.basis, bins)
    taps = -(-chain.n_fft // tile.depth) * tile.depth
    basis = split(rows, exponents_of(rows.abs().amax(dim=1), kept), taps, kept)
    return Operands(kept, bins, basis, taps, exponents_of(peaks_of(padded), kept))


def interleaved(basis: Tensor, bins: slice) -> Tensor:
    """Rows real, imaginary, real, … of some bins of (2 * n_freqs, n_fft), contiguous."""
    pairs = basis.detach().reshape(2, -1, basis.shape[1])[:, bins]
    return pairs.transpose(0, 1).reshape(-1, basis.shape[1]).contiguous()


def layout_of(chain: Chain, bins: slice, tile: Tile) -> Layout:
    """Blocks of neighbouring bins."""
    blocks = blocks_of(bins, tile.columns, chain.n_freqs)
    return Layout("neighbours", blocks, tile.bands)


def sample_limbs(piece: Piece, padded: Tensor, chain: Chain, kept: Format, by: Tensor) -> Limbs:
    """Limbs of the samples of a piece times ``2 ** by`` (batch,), rows of whole 16 bytes."""
    samples = piece.samples(padded, chain)
    length = -(-samples.shape[1] // _ALIGNMENT) * _ALIGNMENT
    return split(samples, by[piece.items], length, kept)


def product_arguments(samples: Limbs, operands: Operands, chain: Chain) -> dict[str, Any]:
    """What `parts_of` is given."""
    return {
        "samples_high_ptr": samples.high,
        "samples_low_ptr": samples.low,
        "basis_high_ptr": operands.basis.high,
        "basis_low_ptr": operands.basis.low,
        "samples_unscale_ptr": samples.unscale,
        "basis_unscale_ptr": operands.basis.unscale,
        "row_length": samples.length,
        "n_bins": operands.bins.stop - operands.bins.start,
        "LIMBS": operands.kept.limbs,
        "WIDEN": operands.kept.widen and is_interpreted(samples.high.device),
        "HOP": chain.hop_length,
        "N_FFT": chain.n_fft,
        "TAPS": operands.taps,
    }


def tile_arguments(tile: Tile) -> dict[str, int]:
    """Sides of the tile by the names of the kernels."""
    return {
        "BLOCK_FRAMES": tile.rows,
        "BLOCK_BINS": tile.columns,
        "BLOCK_DEPTH": tile.depth,
    }


def _tile_name(chain: Chain) -> str:
    is_narrow = chain.bands is not None and not chain.bands.mel.requires_grad
    return "dense_bands" if is_narrow else "dense"


def _write(piece: Piece, padded: Tensor, operands: Operands, target: Target, tile: Tile) -> None:
    chain = target.chain
    samples = sample_limbs(piece, padded, chain, operands.kept, operands.exponents)
    sums = target.sums(piece)
    launch(
        dense_kernel,
        (target.n_blocks, -(-piece.n_frames // tile.rows)),
        tile,
        **product_arguments(samples, operands, chain),
        **target.arguments(piece, sums),
        **tile_arguments(tile),
        COMPLEX=chain.power is None,
    )
    target.finish(piece, sums)
