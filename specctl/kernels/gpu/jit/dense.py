"""Frames times any basis, straight from the waveform."""

import triton
import triton.language as tl

from specctl.kernels.gpu.jit.limbs import dot16
from specctl.kernels.gpu.jit.values import emit, emit_complex, logged_slope, raised, slope


@triton.jit
def parts_of(
    samples_high_ptr,  # (n_items, row_length) contiguous, 16 bit
    samples_low_ptr,
    basis_high_ptr,  # (2 * n_bins, TAPS) contiguous, 16 bit, rows real, imaginary, real, …
    basis_low_ptr,
    samples_unscale_ptr,  # (n_items,) powers of two
    basis_unscale_ptr,  # (2 * n_bins,) powers of two
    block,
    frame,
    row_length,
    n_times,
    n_frames,
    n_bins,
    LIMBS: tl.constexpr,
    WIDEN: tl.constexpr,
    HOP: tl.constexpr,
    N_FFT: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK_FRAMES: tl.constexpr,
    BLOCK_BINS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
):
    """Real and imaginary parts of a tile side by side, (BLOCK_FRAMES, 2 * BLOCK_BINS)."""
    is_frame = frame < n_frames
    item = frame // n_times
    start = item.to(tl.int64) * row_length + (frame - item * n_times).to(tl.int64) * HOP
    row = 2 * block * BLOCK_BINS + tl.arange(0, 2 * BLOCK_BINS)
    is_row = row < 2 * n_bins
    tap = tl.arange(0, BLOCK_DEPTH)
    samples_at = start[:, None] + tap[None, :]
    basis_at = row.to(tl.int64)[None, :] * TAPS + tap[:, None]
    total = tl.zeros((BLOCK_FRAMES, 2 * BLOCK_BINS), tl.float32)
    for first in range(0, TAPS, BLOCK_DEPTH):
        samples_mask = is_frame[:, None]
        if N_FFT != TAPS:
            # what follows a frame must not reach it, not even NaN times 0
            samples_mask = samples_mask & (first + tap < N_FFT)[None, :]
        x = tl.load(samples_high_ptr + samples_at + first, mask=samples_mask, other=0.0)
        w = tl.load(basis_high_ptr + basis_at + first, mask=is_row[None, :], other=0.0)
        if LIMBS == 2:
            # the product of both low limbs is below float32
            x_low = tl.load(samples_low_ptr + samples_at + first, mask=samples_mask, other=0.0)
            w_low = tl.load(basis_low_ptr + basis_at + first, mask=is_row[None, :], other=0.0)
            total = dot16(x, w_low, total, WIDEN)
            total = dot16(x_low, w, total, WIDEN)
        total = dot16(x, w, total, WIDEN)
    total = total * tl.load(samples_unscale_ptr + item, mask=is_frame, other=0.0)[:, None]
    return total * tl.load(basis_unscale_ptr + row, mask=is_row, other=0.0)[None, :]


@triton.jit(do_not_specialize=["n_times", "n_frames", "n_bins", "item_stride", "bin_stride"])
def dense_kernel(
    samples_high_ptr,
    samples_low_ptr,
    basis_high_ptr,
    basis_low_ptr,
    samples_unscale_ptr,
    basis_unscale_ptr,
    out_ptr,
    weights_ptr,
    widths_ptr,
    row_length,
    n_times,
    n_frames,
    n_bins,
    item_stride,
    bin_stride,
    exponent,
    amin,
    per_octave,
    offset,
    floor,
    COMPLEX: tl.constexpr,
    BANDS: tl.constexpr,
    RAISE: tl.constexpr,
    LOG: tl.constexpr,
    WIDTH: tl.constexpr,
    BAND_STEP: tl.constexpr,
    LIMBS: tl.constexpr,
    WIDEN: tl.constexpr,
    HOP: tl.constexpr,
    N_FFT: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK_FRAMES: tl.constexpr,
    BLOCK_BINS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
):
    """One tile of frames times one block of bins; then as `emit` says."""
    block = tl.program_id(0)
    frame = tl.program_id(1) * BLOCK_FRAMES + tl.arange(0, BLOCK_FRAMES)
    parts = parts_of(
        samples_high_ptr, samples_low_ptr, basis_high_ptr, basis_low_ptr,
        samples_unscale_ptr, basis_unscale_ptr,
        block, frame, row_length, n_times, n_frames, n_bins,
        LIMBS, WIDEN, HOP, N_FFT, TAPS, BLOCK_FRAMES, BLOCK_BINS, BLOCK_DEPTH,
    )  # fmt: skip
    bins = block * BLOCK_BINS + tl.arange(0, BLOCK_BINS)
    if COMPLEX:
        real, imag = tl.split(tl.reshape(parts, (BLOCK_FRAMES, BLOCK_BINS, 2)))
        emit_complex(
            real, imag, out_ptr, frame, bins, n_times, n_frames, n_bins, item_stride, bin_stride
        )
    else:
        # both parts of a bin lie in one thread
        power = tl.sum(tl.reshape(parts * parts, (BLOCK_FRAMES, BLOCK_BINS, 2)), axis=2)
        emit(
            power, out_ptr, weights_ptr, widths_ptr, block, frame, bins, n_times, n_frames,
            n_bins, item_stride, bin_stride, exponent, amin, per_octave, offset, floor,
            BANDS, RAISE, LOG, WIDTH, BAND_STEP, BLOCK_BINS,
        )  # fmt: skip


@triton.jit(do_not_specialize=["n_times", "n_frames", "n_bins", "item_stride"])
def parts_gradient_kernel(
    samples_high_ptr,
    samples_low_ptr,
    basis_high_ptr,
    basis_low_ptr,
    samples_unscale_ptr,
    basis_unscale_ptr,
    gradient_ptr,  # (n_items, n_rows, n_times): in bands before a logarithm, or in bins after it
    weights_ptr,  # (n_blocks, WIDTH, BLOCK_BINS) contiguous
    lowest_ptr,  # (n_blocks,) first band that each block touches
    widths_ptr,  # (n_blocks,)
    high_ptr,  # (n_frames, n_columns) contiguous, 16 bit: real, imaginary, real, …
    low_ptr,
    values_ptr,  # (n_frames, n_bins) contiguous
    row_length,
    n_times,
    n_frames,
    n_bins,
    n_columns,
    item_stride,
    row_stride,
    exponent,
    amin,
    per_neper,
    BANDS: tl.constexpr,
    RAISE: tl.constexpr,
    LOG: tl.constexpr,
    VALUES: tl.constexpr,
    WIDTH: tl.constexpr,
    BAND_STEP: tl.constexpr,
    LIMBS: tl.constexpr,
    GRADIENT_LIMBS: tl.constexpr,
    WIDEN: tl.constexpr,
    HOP: tl.constexpr,
    N_FFT: tl.constexpr,
    TAPS: tl.constexpr,
    BLOCK_FRAMES: tl.constexpr,
    BLOCK_BINS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
):
    """Compute a tile's parts again, and the gradient in them: ``2 * part * d_power``."""
    block = tl.program_id(0)
    frame = tl.program_id(1) * BLOCK_FRAMES + tl.arange(0, BLOCK_FRAMES)
    is_frame = frame < n_frames
    bins = block * BLOCK_BINS + tl.arange(0, BLOCK_BINS)
    item = frame // n_times
    start = item.to(tl.int64) * item_stride + (frame - item * n_times)
    if BANDS:
        lowest = tl.load(lowest_ptr + block)
        width = tl.load(widths_ptr + block)
        column = tl.arange(0, BLOCK_BINS)
        d_value = tl.zeros((BLOCK_FRAMES, BLOCK_BINS), tl.float32)
        for first in tl.range(0, WIDTH, BAND_STEP, num_stages=1):
            band = first + tl.arange(0, BAND_STEP)
            place = start[:, None] + (lowest + band).to(tl.int64)[None, :] * row_stride
            mask = is_frame[:, None] & (band < width)[None, :]
            gradient = tl.load(gradient_ptr + place, mask=mask, other=0.0)
            row = block * WIDTH + band
            weights = tl.load(weights_ptr + row[:, None] * BLOCK_BINS + column[None, :])
            d_value = tl.dot(gradient, weights, d_value, input_precision="tf32x3")
    # after that of the bands, so that both products need not share the registers
    parts = parts_of(
        samples_high_ptr, samples_low_ptr, basis_high_ptr, basis_low_ptr,
        samples_unscale_ptr, basis_unscale_ptr,
        block, frame, row_length, n_times, n_frames, n_bins,
        LIMBS, WIDEN, HOP, N_FFT, TAPS, BLOCK_FRAMES, BLOCK_BINS, BLOCK_DEPTH,
    )  # fmt: skip
    if not BANDS:
        place = start[:, None] + bins.to(tl.int64)[None, :] * row_stride
        mask = is_frame[:, None] & (bins < n_bins)[None, :]
        d_value = tl.load(gradient_ptr + place, mask=mask, other=0.0)
    pairs = tl.reshape(parts, (BLOCK_FRAMES, BLOCK_BINS, 2))
    power = tl.sum(pairs * pairs, axis=2)
    d_power = 2.0 * d_value
    if LOG and not BANDS:
        d_power = d_power * logged_slope(raised(power, exponent, RAISE), amin, per_neper)
    if RAISE != "no":
        d_power = d_power * slope(power, exponent, RAISE)
    d_parts = tl.reshape(pairs * d_power[:, :, None], (BLOCK_FRAMES, 2 * BLOCK_BINS))
    high = d_parts.to(high_ptr.dtype.element_ty)
    column = 2 * block * BLOCK_BINS + tl.arange(0, 2 * BLOCK_BINS)
    place = frame.to(tl.int64)[:, None] * n_columns + column[None, :]
    mask = is_frame[:, None] & (column < n_columns)[None, :]
    tl.store(high_ptr + place, high, mask=mask)
    if GRADIENT_LIMBS == 2:
        low = (d_parts - high.to(tl.float32)).to(low_ptr.dtype.element_ty)
        tl.store(low_ptr + place, low, mask=mask)
    if VALUES:
        # what the bands are applied to, for the gradient in the bands
        place = frame.to(tl.int64)[:, None] * n_bins + bins[None, :]
        mask = is_frame[:, None] & (bins < n_bins)[None, :]
        tl.store(values_ptr + place, raised(power, exponent, RAISE), mask=mask)
