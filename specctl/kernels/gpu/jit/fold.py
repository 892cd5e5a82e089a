"""The Fourier basis folded twice: a product a quarter as deep, and half of it for each parity.

With ``y`` a windowed frame of ``4 * Q`` samples, ``cos`` and ``sin`` of even bins are symmetric
about ``Q``, those of odd bins antisymmetric, so four samples share one coefficient.
"""

import triton
import triton.language as tl

from specctl.kernels.gpu.jit.values import emit, emit_complex


@triton.jit
def windowed(
    samples_ptr,
    window_ptr,
    start,  # (BLOCK_FRAMES,) of each frame
    tap,  # (BLOCK_TAPS,)
    mask,
):
    """Samples of frames times window, (BLOCK_FRAMES, BLOCK_TAPS)."""
    samples = tl.load(samples_ptr + start[:, None] + tap[None, :], mask=mask, other=0.0)
    return samples * tl.load(window_ptr + tap)[None, :]


@triton.jit
def store_limbs(
    high_ptr,
    low_ptr,
    place,
    values,
    mask,
):
    """Two fp16 limbs of float32."""
    high = values.to(tl.float16)
    tl.store(high_ptr + place, high, mask=mask)
    tl.store(low_ptr + place, (values - high.to(tl.float32)).to(tl.float16), mask=mask)


@triton.jit(do_not_specialize=["n_times", "n_frames", "n_rows"])
def folding_kernel(
    samples_ptr,  # (n_items, samples), rows row_stride apart
    window_ptr,  # (4 * Q,) contiguous
    scale_ptr,  # (n_items,) powers of two
    even_high_ptr,  # (2 parities, n_rows, DEPTH) contiguous, fp16: what meets the cosines
    even_low_ptr,
    odd_high_ptr,  # the same: what meets the sines
    odd_low_ptr,
    middle_ptr,  # (n_frames,) sum of the samples Q and 3Q, which meet even cosines only
    row_stride,
    n_times,
    n_frames,
    n_rows,
    HOP: tl.constexpr,
    Q: tl.constexpr,
    DEPTH: tl.constexpr,
    BLOCK_FRAMES: tl.constexpr,
    BLOCK_TAPS: tl.constexpr,
):
    """Fold frames in float32, then split them; slot 0 of the odd sines holds sample Q - 3Q."""
    tap = tl.program_id(0) * BLOCK_TAPS + tl.arange(0, BLOCK_TAPS)
    frame = tl.program_id(1) * BLOCK_FRAMES + tl.arange(0, BLOCK_FRAMES)
    is_frame = frame < n_frames
    item = frame // n_times
    start = item.to(tl.int64) * row_stride + (frame - item * n_times).to(tl.int64) * HOP
    scale = tl.load(scale_ptr + item, mask=is_frame, other=0.0)
    mask = is_frame[:, None] & (tap < Q)[None, :]
    # tap 0 has no mirror image
    mirrored = mask & (tap > 0)[None, :]
    near = tl.where(tap < Q, tap, 0)
    far = tl.where((tap < Q) & (tap > 0), tap, 1)
    a = windowed(samples_ptr, window_ptr, start, near, mask)
    b = windowed(samples_ptr, window_ptr, start, 4 * Q - far, mirrored)
    c = windowed(samples_ptr, window_ptr, start, 2 * Q - near, mask)
    d = windowed(samples_ptr, window_ptr, start, 2 * Q + near, mirrored)
    first = tl.load(samples_ptr + start + Q, mask=is_frame, other=0.0) * tl.load(window_ptr + Q)
    third = tl.load(samples_ptr + start + 3 * Q, mask=is_frame, other=0.0)
    third = third * tl.load(window_ptr + 3 * Q)
    is_zero = (tap == 0)[None, :]
    sines_even = tl.where(is_zero, 0.0, (a - b) - (c - d))
    sines_odd = tl.where(is_zero, (first - third)[:, None], (a - b) + (c - d))
    place = frame.to(tl.int64)[:, None] * DEPTH + tap[None, :]
    other = n_rows * DEPTH
    kept = is_frame[:, None] & (tap < DEPTH)[None, :]
    by = scale[:, None]
    store_limbs(even_high_ptr, even_low_ptr, place, ((a + b) + (c + d)) * by, kept)
    store_limbs(even_high_ptr, even_low_ptr, place + other, ((a + b) - (c + d)) * by, kept)
    store_limbs(odd_high_ptr, odd_low_ptr, place, sines_even * by, kept)
    store_limbs(odd_high_ptr, odd_low_ptr, place + other, sines_odd * by, kept)
    if tl.program_id(0) == 0:
        tl.store(middle_ptr + frame, (first + third) * scale, mask=is_frame)


@triton.jit
def product_of_limbs(
    left_high_ptr,
    left_low_ptr,
    right_high_ptr,
    right_low_ptr,
    left_at,
    right_at,
    left_mask,
    right_mask,
    total,
):
    """``total`` plus the three products that carry float32."""
    left = tl.load(left_high_ptr + left_at, mask=left_mask, other=0.0)
    right = tl.load(right_high_ptr + right_at, mask=right_mask, other=0.0)
    left_low = tl.load(left_low_ptr + left_at, mask=left_mask, other=0.0)
    right_low = tl.load(right_low_ptr + right_at, mask=right_mask, other=0.0)
    total = tl.dot(left, right_low, total)
    total = tl.dot(left_low, right, total)
    return tl.dot(left, right, total)


@triton.jit(
    do_not_specialize=[
        "first_pair",
        "n_blocks",
        "n_times",
        "n_frames",
        "n_rows",
        "n_bins",
        "item_stride",
        "bin_stride",
    ]
)
def folded_kernel(
    even_high_ptr,  # (2, n_rows, DEPTH) contiguous
    even_low_ptr,
    odd_high_ptr,
    odd_low_ptr,
    middle_ptr,  # (n_frames,)
    cosine_high_ptr,  # (2, Q + 1, DEPTH) contiguous
    cosine_low_ptr,
    sine_high_ptr,
    sine_low_ptr,
    unscale_ptr,  # (n_items,) powers of two, of the item and of the basis
    out_ptr,
    weights_ptr,
    widths_ptr,
    first_pair,  # bins 2 * pair and 2 * pair + 1
    n_blocks,  # of one parity
    n_times,
    n_frames,
    n_rows,
    n_bins,
    item_stride,
    bin_stride,
    basis_scale,
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
    Q: tl.constexpr,
    DEPTH: tl.constexpr,
    BLOCK_FRAMES: tl.constexpr,
    BLOCK_BINS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
):
    """One tile of frames times bins of one parity; then as `emit` says."""
    block = tl.program_id(0)
    parity = block // n_blocks
    frame = tl.program_id(1) * BLOCK_FRAMES + tl.arange(0, BLOCK_FRAMES)
    is_frame = frame < n_frames
    pair = first_pair + (block - parity * n_blocks) * BLOCK_BINS + tl.arange(0, BLOCK_BINS)
    is_pair = pair + parity <= Q
    depth = tl.arange(0, BLOCK_DEPTH)
    left = (parity * n_rows + frame).to(tl.int64)[:, None] * DEPTH + depth[None, :]
    right = (parity * (Q + 1) + pair)[None, :] * DEPTH + depth[:, None]
    real = tl.zeros((BLOCK_FRAMES, BLOCK_BINS), tl.float32)
    imag = tl.zeros((BLOCK_FRAMES, BLOCK_BINS), tl.float32)
    for first in range(0, DEPTH, BLOCK_DEPTH):
        real = product_of_limbs(
            even_high_ptr, even_low_ptr, cosine_high_ptr, cosine_low_ptr,
            left + first, right + first, is_frame[:, None], is_pair[None, :], real,
        )  # fmt: skip
        imag = product_of_limbs(
            odd_high_ptr, odd_low_ptr, sine_high_ptr, sine_low_ptr,
            left + first, right + first, is_frame[:, None], is_pair[None, :], imag,
        )  # fmt: skip
    # cos(2 pi k Q / 4Q) is 0 for odd k and alternates for even k
    middle = tl.load(middle_ptr + frame, mask=is_frame, other=0.0) * basis_scale
    sign = tl.where(is_pair & (parity == 0), 1.0 - 2.0 * (pair % 2).to(tl.float32), 0.0)
    real += middle[:, None] * sign[None, :]
    unscale = tl.load(unscale_ptr + frame // n_times, mask=is_frame, other=0.0)[:, None]
    real = real * unscale
    imag = imag * unscale
    bins = 2 * pair + parity
    if COMPLEX:
        emit_complex(
            real, imag, out_ptr, frame, bins, n_times, n_frames, n_bins, item_stride, bin_stride
        )
    else:
        emit(
            real * real + imag * imag, out_ptr, weights_ptr, widths_ptr, block, frame, bins,
            n_times, n_frames, n_bins, item_stride, bin_stride, exponent, amin, per_octave,
            offset, floor, BANDS, RAISE, LOG, WIDTH, BAND_STEP, BLOCK_BINS,
        )  # fmt: skip
