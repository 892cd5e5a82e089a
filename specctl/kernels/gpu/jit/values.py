"""What happens to a value once its power is known: exponent, bands, logarithm."""

import triton
import triton.language as tl


@triton.jit
def raised(
    power,
    exponent,
    RAISE: tl.constexpr,
):
    """``power ** exponent``; RAISE is "no" for exponent 1, "root" for 0.5, else "any"."""
    value = power
    if RAISE == "root":
        value = tl.sqrt(power)
    if RAISE == "any":
        # 0 ** exponent is 0, and NaN stays NaN
        loud = tl.where(power > 0, power, 1.0)
        value = tl.where(power > 0, tl.exp2(exponent * tl.log2(loud)), power)
    return value


@triton.jit
def slope(
    power,
    exponent,
    RAISE: tl.constexpr,
):
    """Derivative of `raised` by ``power``; 0 in silence, where it may be infinite."""
    loud = tl.where(power > 0, power, 1.0)
    value = power * 0 + 1.0
    if RAISE == "root":
        value = tl.where(power > 0, 0.5 / tl.sqrt(loud), power)
    if RAISE == "any":
        steep = exponent * tl.exp2((exponent - 1) * tl.log2(loud))
        value = tl.where(power > 0, steep, power)
    return value


@triton.jit
def logged(
    value,
    amin,
    per_octave,
    offset,
    floor,
):
    """``per_octave * log2(value) - offset``, and exactly ``floor`` at or below ``amin``."""
    heard = tl.where(value <= amin, 1.0, value)
    return tl.where(value <= amin, floor, per_octave * tl.log2(heard) - offset)


@triton.jit
def logged_slope(
    value,
    amin,
    per_neper,
):
    """Derivative of `logged` by ``value``; 0 at or below ``amin``."""
    heard = tl.where(value <= amin, 1.0, value)
    return tl.where(value <= amin, 0.0, per_neper / heard)


@triton.jit
def emit(
    power,  # (BLOCK_FRAMES, BLOCK_BINS)
    out_ptr,  # (item, bin, time), or with BANDS (n_blocks * WIDTH, n_frames) contiguous
    weights_ptr,  # (n_blocks, WIDTH, BLOCK_BINS) contiguous, zero where there is no band
    widths_ptr,  # (n_blocks,) bands that each block touches
    block,
    frame,
    bins,
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
    BANDS: tl.constexpr,
    RAISE: tl.constexpr,
    LOG: tl.constexpr,
    WIDTH: tl.constexpr,
    BAND_STEP: tl.constexpr,
    BLOCK_BINS: tl.constexpr,
):
    """Store a tile's values, or its share of the sums of the bands that it touches."""
    value = raised(power, exponent, RAISE)
    mask = (frame < n_frames)[:, None]
    if BANDS:
        column = tl.arange(0, BLOCK_BINS)
        width = tl.load(widths_ptr + block)
        for first in tl.range(0, WIDTH, BAND_STEP, num_stages=1):
            band = first + tl.arange(0, BAND_STEP)
            row = block * WIDTH + band
            weights = tl.load(weights_ptr + row[None, :] * BLOCK_BINS + column[:, None])
            # three TF32 products carry float32; the default would be a single one
            share = tl.dot(value, weights, input_precision="tf32x3")
            place = row.to(tl.int64)[None, :] * n_frames + frame[:, None]
            tl.store(out_ptr + place, share, mask=mask & (band < width)[None, :])
    else:
        if LOG:
            value = logged(value, amin, per_octave, offset, floor)
        item = frame // n_times
        time = frame - item * n_times
        start = item.to(tl.int64) * item_stride + time
        place = start[:, None] + bins.to(tl.int64)[None, :] * bin_stride
        tl.store(out_ptr + place, value, mask=mask & (bins < n_bins)[None, :])


@triton.jit
def emit_complex(
    real,  # (BLOCK_FRAMES, BLOCK_BINS)
    imag,
    out_ptr,  # (item, bin, time, 2)
    frame,
    bins,
    n_times,
    n_frames,
    n_bins,
    item_stride,
    bin_stride,
):
    """Store a tile of complex values."""
    item = frame // n_times
    time = frame - item * n_times
    start = item.to(tl.int64) * item_stride + 2 * time
    place = start[:, None] + bins.to(tl.int64)[None, :] * bin_stride
    mask = (frame < n_frames)[:, None] & (bins < n_bins)[None, :]
    tl.store(out_ptr + place, real, mask=mask)
    tl.store(out_ptr + place + 1, imag, mask=mask)


@triton.jit(do_not_specialize=["n_times", "n_frames", "item_stride", "bin_stride"])
def band_sum_kernel(
    sums_ptr,  # (n_blocks * WIDTH, n_frames) contiguous
    out_ptr,  # (item, band, time)
    rows_ptr,  # (n_bands, PARTS) rows that add up to each band, -1 where there is none
    n_times,
    n_frames,
    item_stride,
    bin_stride,
    amin,
    per_octave,
    offset,
    floor,
    LOG: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_FRAMES: tl.constexpr,
):
    """Add the shares of every block in a fixed order, then take the logarithm."""
    band = tl.program_id(0)
    frame = tl.program_id(1) * BLOCK_FRAMES + tl.arange(0, BLOCK_FRAMES)
    mask = frame < n_frames
    total = tl.zeros((BLOCK_FRAMES,), tl.float32)
    for part in tl.range(0, PARTS, num_stages=1):
        row = tl.load(rows_ptr + band * PARTS + part)
        place = row.to(tl.int64) * n_frames + frame
        is_share = tl.where(row >= 0, frame, n_frames) < n_frames
        total += tl.load(sums_ptr + place, mask=is_share, other=0.0)
    if LOG:
        total = logged(total, amin, per_octave, offset, floor)
    item = frame // n_times
    time = frame - item * n_times
    place = item.to(tl.int64) * item_stride + band.to(tl.int64) * bin_stride + time
    tl.store(out_ptr + place, total, mask=mask)
