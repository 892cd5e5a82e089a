"""The backward pass of products with a basis, piece by piece."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from specctl.kernels.base import Chain
from specctl.kernels.gpu.banding import banding_for
from specctl.kernels.gpu.dense import (
    interleaved,
    layout_of,
    operands_of,
    product_arguments,
    sample_limbs,
    tile_arguments,
)
from specctl.kernels.gpu.jit.dense import parts_gradient_kernel
from specctl.kernels.gpu.jit.gradients import basis_gradient_kernel, waveform_gradient_kernel
from specctl.kernels.gpu.limbs import BACKWARD, Limbs, split
from specctl.kernels.gpu.pieces import MAX_FRAMES, Piece
from specctl.kernels.gpu.target import raise_name
from specctl.kernels.gpu.tiles import INTERPRETED_FRAMES, is_interpreted, launch, tile_of
from specctl.kernels.precision import owned_precision

_VALUES = 2**24
"""Gradients in parts that stand in memory at once: 64 MB in two limbs."""
_PROGRAMS = 256
"""Programs that fill a GPU; sums over frames are split until there are as many."""
_MAX_SPLITS = 8


class _Parts(NamedTuple):
    """The gradient in real and imaginary parts, split in two; nothing of it is scaled."""

    high: Tensor  # (n_frames, n_columns)
    low: Tensor  # (n_frames, n_columns), or high again


class Backward:
    """Gradients that grow with every piece; ``None`` where one is not wanted."""

    def __init__(
        self, padded: Tensor, chain: Chain, *, d_waveform: bool, d_basis: bool, d_mel: bool
    ) -> None:
        self._padded, self._chain = padded, chain
        self._tile = tile_of("parts_gradient", padded.device)
        self._operands = operands_of(padded, chain, self._tile)
        self._kept = BACKWARD[chain.precision]
        bins = self._operands.bins
        self._n_bins = bins.stop - bins.start
        depth = tile_of("waveform_gradient", padded.device).depth
        self._columns: int = -(-2 * self._n_bins // depth) * depth
        layout = layout_of(chain, bins, self._tile)
        self._banding = None if chain.bands is None else banding_for(chain.bands, layout)
        self.d_waveform = torch.zeros_like(padded) if d_waveform else None
        self._basis_sums = self._new_basis_sums() if d_basis else None
        self._plain_basis = self._split_basis() if d_waveform else None
        mel = chain.bands.mel if d_mel and chain.bands is not None else None
        self.d_mel = None if mel is None else torch.zeros_like(mel)

    @property
    def capacity(self) -> int:
        """Frames that a piece may have."""
        if is_interpreted(self._padded.device):
            return INTERPRETED_FRAMES
        return max(1, min(_VALUES // self._columns, MAX_FRAMES))

    @property
    def d_basis(self) -> Tensor | None:
        """Gradient in the basis, (2 * n_freqs, n_fft)."""
        if self._basis_sums is None or self._chain.basis is None:
            return None
        total = self._basis_sums.sum(0)[: 2 * self._n_bins]
        result = total.new_zeros(self._chain.basis.shape)
        pairs = total.view(self._n_bins, 2, -1).transpose(0, 1)
        result.view(2, self._chain.n_freqs, -1)[:, self._operands.bins] = pairs
        return result

    def add(self, piece: Piece, gradient: Tensor) -> None:
        """One piece, and its gradient (items, n_bins, n_times).

        In bands before the logarithm; without bands in the result.
        """
        parts, values = self._gradient_in_parts(piece, gradient)
        if self.d_mel is not None and values is not None:
            bands = gradient.transpose(0, 1).reshape(len(self.d_mel), -1)
            with owned_precision(bands.device, "fp32"):
                self.d_mel.addmm_(bands, values)
        if self._basis_sums is not None:
            self._add_to_basis(piece, parts, self._basis_sums)
        if self.d_waveform is not None and self._plain_basis is not None:
            place = piece.samples(self.d_waveform, self._chain)
            self._add_to_waveform(piece, parts, self._plain_basis, place)

    def _gradient_in_parts(self, piece: Piece, gradient: Tensor) -> tuple[_Parts, Tensor | None]:
        chain, banding = self._chain, self._banding
        operands, device = self._operands, gradient.device
        samples = sample_limbs(piece, self._padded, chain, operands.kept, operands.exponents)
        shape = (piece.n_frames, self._columns)
        high = torch.empty(shape, dtype=self._kept.dtype, device=device)
        low = torch.empty_like(high) if self._kept.limbs == 2 else high
        values = None
        if self.d_mel is not None:
            values = gradient.new_empty((piece.n_frames, self._n_bins))
        n_blocks = -(-self._n_bins // self._tile.columns)
        launch(
            parts_gradient_kernel,
            (n_blocks, -(-piece.n_frames // self._tile.rows)),
            self._tile,
            **product_arguments(samples, operands, chain),
            **tile_arguments(self._tile),
            gradient_ptr=gradient,
            weights_ptr=None if banding is None else banding.weights,
            lowest_ptr=None if banding is None else banding.lowest,
            widths_ptr=None if banding is None else banding.widths,
            high_ptr=high,
            low_ptr=low,
            values_ptr=values,
            n_times=piece.n_times,
            n_frames=piece.n_frames,
            n_columns=self._columns,
            item_stride=gradient.stride(0),
            row_stride=gradient.stride(1),
            exponent=(chain.power or 2.0) / 2,
            amin=0.0 if chain.log is None else chain.log.amin,
            per_neper=0.0 if chain.log is None else chain.log.factor / math.log(10.0),
            BANDS=banding is not None,
            RAISE=raise_name(chain.power),
            LOG=chain.log is not None,
            VALUES=values is not None,
            WIDTH=1 if banding is None else banding.width,
            BAND_STEP=1 if banding is None else banding.step,
            GRADIENT_LIMBS=self._kept.limbs,
        )
        return _Parts(high, low), values

    def _add_to_basis(self, piece: Piece, parts: _Parts, total: Tensor) -> None:
        chain = self._chain
        tile = tile_of("basis_gradient", total.device)
        nothing = torch.zeros_like(self._operands.exponents)
        samples = sample_limbs(piece, self._padded, chain, self._kept, nothing)
        n_splits = len(total)
        steps = -(-piece.n_frames // (n_splits * tile.depth))
        n_tap_blocks = -(-chain.n_fft // tile.columns)
        launch(
            basis_gradient_kernel,
            (-(-self._columns // tile.rows) * n_tap_blocks, n_splits),
            tile,
            samples_high_ptr=samples.high,
            samples_low_ptr=samples.low,
            gradient_high_ptr=parts.high,
            gradient_low_ptr=parts.low,
            total_ptr=total,
            row_length=samples.length,
            n_times=piece.n_times,
            n_frames=piece.n_frames,
            n_columns=self._columns,
            span=steps * tile.depth,
            n_tap_blocks=n_tap_blocks,
            LIMBS=self._kept.limbs,
            WIDEN=self._widen,
            HOP=chain.hop_length,
            N_FFT=chain.n_fft,
            BLOCK_ROWS=tile.rows,
            BLOCK_TAPS=tile.columns,
            BLOCK_DEPTH=tile.depth,
        )

    def _add_to_waveform(self, piece: Piece, parts: _Parts, basis: Limbs, place: Tensor) -> None:
        chain = self._chain
        tile = tile_of("waveform_gradient", place.device)
        n_hops = -(-place.shape[1] // chain.hop_length)
        n_hop_blocks = -(-n_hops // tile.rows)
        # nothing reaches samples between frames
        n_covered = min(chain.hop_length, chain.n_fft)
        launch(
            waveform_gradient_kernel,
            (len(place) * n_hop_blocks, -(-n_covered // tile.columns)),
            tile,
            gradient_high_ptr=parts.high,
            gradient_low_ptr=parts.low,
            basis_high_ptr=basis.high,
            basis_low_ptr=basis.low,
            waveform_ptr=place,
            row_stride=place.stride(0),
            n_samples=place.shape[1],
            n_times=piece.n_times,
            n_hop_blocks=n_hop_blocks,
            LIMBS=self._kept.limbs,
            WIDEN=self._widen,
            HOP=chain.hop_length,
            N_FFT=chain.n_fft,
            COLUMNS=self._columns,
            BLOCK_HOPS=tile.rows,
            BLOCK_SAMPLES=tile.columns,
            BLOCK_DEPTH=tile.depth,
        )

    @property
    def _widen(self) -> bool:
        return self._kept.widen and is_interpreted(self._padded.device)

    def _new_basis_sums(self) -> Tensor:
        tile = tile_of("basis_gradient", self._padded.device)
        rows, taps = -(-self._columns // tile.rows), -(-self._chain.n_fft // tile.columns)
        n_splits = max(1, min(_MAX_SPLITS, _PROGRAMS // (rows * taps)))
        return self._padded.new_zeros((n_splits, self._columns, self._chain.n_fft))

    def _split_basis(self) -> Limbs:
        """Rows of the basis as the gradients have them, filled up with rows of zeros."""
        rows = self._padded.new_zeros((self._columns, self._chain.n_fft))
        if self._chain.basis is not None:
            rows[: 2 * self._n_bins] = interleaved(self._chain.basis, self._operands.bins)
        nothing = torch.zeros(len(rows), dtype=torch.int32, device=rows.device)
        return split(rows, nothing, self._chain.n_fft, self._kept)
