"""Kernel ``fft`` on a GPU: frames and windows, cuFFT, then everything else in one pass.

An FFT is always given the same number of frames, filled up with whatever stands in memory, so
that a frame's numbers cannot depend on how many were computed with it.
"""

import torch
from torch import Tensor

from specctl.kernels.base import Chain
from specctl.kernels.gpu.banding import Layout, used_bins
from specctl.kernels.gpu.jit.fft import frame_kernel, spectrum_kernel
from specctl.kernels.gpu.pieces import MAX_FRAMES, Piece, frames_in, pieces
from specctl.kernels.gpu.target import Target, blocks_of
from specctl.kernels.gpu.tiles import INTERPRETED_FRAMES, is_interpreted, launch, tile_of

_SAMPLES = 2**24
"""Samples of all frames of a piece: 64 MB of frames, as much of spectra."""


def compute(padded: Tensor, chain: Chain) -> Tensor:
    """All of ``chain`` without gradients; see `specctl.kernels.base.Kernel.run`."""
    n_times = frames_in(padded, chain)
    bins = used_bins(chain.bands, chain.n_freqs)
    tile = tile_of("spectrum", padded.device)
    blocks = blocks_of(bins, tile.columns, chain.n_freqs)
    target = Target(padded, chain, n_times, Layout("neighbours", blocks, tile.bands))
    capacity = target.capacity(_capacity(padded.device, chain.n_fft))
    frames = padded.new_empty((capacity, chain.n_fft))
    for piece in pieces(padded.shape[0], n_times, capacity):
        _write_frames(piece.samples(padded, chain), chain, piece, frames)
        spectra = torch.fft.rfft(frames)
        if chain.power is None:
            _copy_spectra(spectra, piece, target.out)
        else:
            _write_values(spectra, bins, piece, target)
        # or they would be there beside those of the next piece
        del spectra
    return target.out


def _capacity(device: torch.device, n_fft: int) -> int:
    if is_interpreted(device):
        return INTERPRETED_FRAMES
    return max(1, min(_SAMPLES // n_fft, MAX_FRAMES))


def _write_frames(samples: Tensor, chain: Chain, piece: Piece, frames: Tensor) -> None:
    tile = tile_of("frames", samples.device)
    launch(
        frame_kernel,
        (-(-chain.n_fft // tile.columns), -(-piece.n_frames // tile.rows)),
        tile,
        samples_ptr=samples,
        window_ptr=chain.window.contiguous(),
        frames_ptr=frames,
        row_stride=samples.stride(0),
        n_times=piece.n_times,
        n_frames=piece.n_frames,
        HOP=chain.hop_length,
        N_FFT=chain.n_fft,
        BLOCK_FRAMES=tile.rows,
        BLOCK_TAPS=tile.columns,
    )


def _write_values(spectra: Tensor, bins: slice, piece: Piece, target: Target) -> None:
    tile = tile_of("spectrum", spectra.device)
    sums = target.sums(piece)
    launch(
        spectrum_kernel,
        (target.n_blocks, -(-piece.n_frames // tile.rows)),
        tile,
        spectra_ptr=torch.view_as_real(spectra)[:, bins.start :],
        **target.arguments(piece, sums),
        n_bins=bins.stop - bins.start,
        N_FREQS=target.chain.n_freqs,
        BLOCK_FRAMES=tile.rows,
        BLOCK_BINS=tile.columns,
    )
    target.finish(piece, sums)


def _copy_spectra(spectra: Tensor, piece: Piece, out: Tensor) -> None:
    n_items = piece.items.stop - piece.items.start
    used = spectra[: piece.n_frames].view(n_items, piece.n_times, -1)
    out[piece.items, :, piece.times] = used.transpose(1, 2)
