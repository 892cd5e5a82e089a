"""What stands before and after an FFT."""

import triton
import triton.language as tl

from specctl.kernels.gpu.jit.values import emit


@triton.jit(do_not_specialize=["n_times", "n_frames"])
def frame_kernel(
    samples_ptr,  # (n_items, samples), rows row_stride apart
    window_ptr,  # (N_FFT,) contiguous
    frames_ptr,  # (n_frames, N_FFT) contiguous
    row_stride,
    n_times,
    n_frames,
    HOP: tl.constexpr,
    N_FFT: tl.constexpr,
    BLOCK_FRAMES: tl.constexpr,
    BLOCK_TAPS: tl.constexpr,
):
    """Frames times window."""
    tap = tl.program_id(0) * BLOCK_TAPS + tl.arange(0, BLOCK_TAPS)
    frame = tl.program_id(1) * BLOCK_FRAMES + tl.arange(0, BLOCK_FRAMES)
    item = frame // n_times
    start = item.to(tl.int64) * row_stride + (frame - item * n_times).to(tl.int64) * HOP
    mask = (frame < n_frames)[:, None] & (tap < N_FFT)[None, :]
    values = tl.load(samples_ptr + start[:, None] + tap[None, :], mask=mask, other=0.0)
    taper = tl.load(window_ptr + tap, mask=tap < N_FFT, other=0.0)
    place = frame.to(tl.int64)[:, None] * N_FFT + tap[None, :]
    tl.store(frames_ptr + place, values * taper[None, :], mask=mask)


@triton.jit(do_not_specialize=["n_times", "n_frames", "n_bins", "item_stride", "bin_stride"])
def spectrum_kernel(
    spectra_ptr,  # (n_frames, N_FREQS, 2) contiguous, from the first bin that is used
    out_ptr,
    weights_ptr,
    widths_ptr,
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
    N_FREQS: tl.constexpr,
    BLOCK_FRAMES: tl.constexpr,
    BLOCK_BINS: tl.constexpr,
):
    """Complex spectra to powers, and on as `emit` says."""
    block = tl.program_id(0)
    frame = tl.program_id(1) * BLOCK_FRAMES + tl.arange(0, BLOCK_FRAMES)
    column = 2 * block * BLOCK_BINS + tl.arange(0, 2 * BLOCK_BINS)
    place = frame.to(tl.int64)[:, None] * (2 * N_FREQS) + column[None, :]
    mask = (frame < n_frames)[:, None] & (column < 2 * n_bins)[None, :]
    parts = tl.load(spectra_ptr + place, mask=mask, other=0.0)
    power = tl.sum(tl.reshape(parts * parts, (BLOCK_FRAMES, BLOCK_BINS, 2)), axis=2)
    bins = block * BLOCK_BINS + tl.arange(0, BLOCK_BINS)
    emit(
        power, out_ptr, weights_ptr, widths_ptr, block, frame, bins, n_times, n_frames, n_bins,
        item_stride, bin_stride, exponent, amin, per_octave, offset, floor,
        BANDS, RAISE, LOG, WIDTH, BAND_STEP, BLOCK_BINS,
    )  # fmt: skip
