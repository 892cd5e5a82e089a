"""From gradients in the parts to those in the basis and in the waveform; nothing is added twice.

Both are matrix products over frames that are read from the waveform or spread over it, with no
atomic additions: every sum has one order, so two runs agree to the last bit.
"""

import triton
import triton.language as tl

from specctl.kernels.gpu.jit.limbs import dot16


@triton.jit(do_not_specialize=["n_times", "n_frames", "span", "n_tap_blocks"])
def basis_gradient_kernel(
    samples_high_ptr,  # (n_items, row_length) contiguous, 16 bit
    samples_low_ptr,
    gradient_high_ptr,  # (n_frames, n_columns) contiguous, 16 bit
    gradient_low_ptr,
    total_ptr,  # (n_splits, n_columns, N_FFT) contiguous, added to
    row_length,
    n_times,
    n_frames,
    n_columns,
    span,
    n_tap_blocks,
    LIMBS: tl.constexpr,
    WIDEN: tl.constexpr,
    HOP: tl.constexpr,
    N_FFT: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_TAPS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
):
    """``total[s, r, n] += sum of gradient[i, r] * frame[i, n]`` over the frames of split s."""
    program = tl.program_id(0)
    split = tl.program_id(1)
    row = (program // n_tap_blocks) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    tap = (program % n_tap_blocks) * BLOCK_TAPS + tl.arange(0, BLOCK_TAPS)
    stop = tl.minimum((split + 1) * span, n_frames)
    is_row = row < n_columns
    is_tap = tap < N_FFT
    total = tl.zeros((BLOCK_ROWS, BLOCK_TAPS), tl.float32)
    for first in range(split * span, stop, BLOCK_DEPTH):
        frame = first + tl.arange(0, BLOCK_DEPTH)
        is_frame = frame < stop
        item = frame // n_times
        start = item.to(tl.int64) * row_length + (frame - item * n_times).to(tl.int64) * HOP
        samples_at = start[:, None] + tap[None, :]
        samples_mask = is_frame[:, None] & is_tap[None, :]
        gradient_at = frame.to(tl.int64)[None, :] * n_columns + row[:, None]
        gradient_mask = is_row[:, None] & is_frame[None, :]
        x = tl.load(samples_high_ptr + samples_at, mask=samples_mask, other=0.0)
        g = tl.load(gradient_high_ptr + gradient_at, mask=gradient_mask, other=0.0)
        if LIMBS == 2:
            x_low = tl.load(samples_low_ptr + samples_at, mask=samples_mask, other=0.0)
            g_low = tl.load(gradient_low_ptr + gradient_at, mask=gradient_mask, other=0.0)
            total = dot16(g_low, x, total, WIDEN)
            total = dot16(g, x_low, total, WIDEN)
        total = dot16(g, x, total, WIDEN)
    place = (split * n_columns + row).to(tl.int64)[:, None] * N_FFT + tap[None, :]
    mask = is_row[:, None] & is_tap[None, :]
    before = tl.load(total_ptr + place, mask=mask, other=0.0)
    tl.store(total_ptr + place, before + total, mask=mask)


@triton.jit(do_not_specialize=["n_samples", "n_times", "n_hop_blocks"])
def waveform_gradient_kernel(
    gradient_high_ptr,  # (n_items * n_times, COLUMNS) contiguous, 16 bit
    gradient_low_ptr,
    basis_high_ptr,  # (COLUMNS, N_FFT) contiguous, 16 bit
    basis_low_ptr,
    waveform_ptr,  # (n_items, samples), added to
    row_stride,
    n_samples,
    n_times,
    n_hop_blocks,
    LIMBS: tl.constexpr,
    WIDEN: tl.constexpr,
    HOP: tl.constexpr,
    N_FFT: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_HOPS: tl.constexpr,
    BLOCK_SAMPLES: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
):
    """Collect what every frame that covers a sample gives to it.

    ``waveform[q * HOP + c] += sum over j, r of gradient[q - j, r] * basis[r, j * HOP + c]``
    """
    sample_block = tl.program_id(1)
    hop_block = tl.program_id(0) % n_hop_blocks
    item = tl.program_id(0) // n_hop_blocks
    hop = hop_block * BLOCK_HOPS + tl.arange(0, BLOCK_HOPS)
    sample = sample_block * BLOCK_SAMPLES + tl.arange(0, BLOCK_SAMPLES)
    depth = tl.arange(0, BLOCK_DEPTH)
    total = tl.zeros((BLOCK_HOPS, BLOCK_SAMPLES), tl.float32)
    for back in range(0, (N_FFT + HOP - 1) // HOP):
        time = hop - back
        is_time = (time >= 0) & (time < n_times)
        tap = back * HOP + sample
        is_tap = (sample < HOP) & (tap < N_FFT)
        frame = item * n_times + time
        gradient_at = frame.to(tl.int64)[:, None] * COLUMNS + depth[None, :]
        basis_at = depth.to(tl.int64)[:, None] * N_FFT + tap[None, :]
        for first in range(0, COLUMNS, BLOCK_DEPTH):
            g = tl.load(gradient_high_ptr + gradient_at + first, mask=is_time[:, None], other=0.0)
            w = tl.load(basis_high_ptr + basis_at, mask=is_tap[None, :], other=0.0)
            if LIMBS == 2:
                g_low = tl.load(
                    gradient_low_ptr + gradient_at + first, mask=is_time[:, None], other=0.0
                )
                w_low = tl.load(basis_low_ptr + basis_at, mask=is_tap[None, :], other=0.0)
                total = dot16(g_low, w, total, WIDEN)
                total = dot16(g, w_low, total, WIDEN)
            total = dot16(g, w, total, WIDEN)
            basis_at += BLOCK_DEPTH * N_FFT
    at = hop.to(tl.int64)[:, None] * HOP + sample[None, :]
    mask = (sample < HOP)[None, :] & (at < n_samples)
    place = item.to(tl.int64) * row_stride + at
    before = tl.load(waveform_ptr + place, mask=mask, other=0.0)
    tl.store(waveform_ptr + place, before + total, mask=mask)
