"""Rows of float32 as sums of two 16-bit numbers."""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["n", "n_blocks"])
def peak_kernel(
    rows_ptr,  # (n_rows, n), rows row_stride apart
    peaks_ptr,  # (n_rows, n_blocks) contiguous
    row_stride,
    n,
    n_blocks,
    BLOCK_SIZE: tl.constexpr,
):
    """Largest finite magnitude of each block of a row."""
    program = tl.program_id(0)
    row = program // n_blocks
    place = (program - row * n_blocks).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    values = tl.load(rows_ptr + row.to(tl.int64) * row_stride + place, mask=place < n, other=0.0)
    magnitude = tl.abs(values)
    magnitude = tl.where(magnitude < float("inf"), magnitude, 0.0)
    tl.store(peaks_ptr + program, tl.max(magnitude, axis=0))


@triton.jit(do_not_specialize=["n", "n_blocks"])
def split_kernel(
    rows_ptr,  # (n_rows, n), rows row_stride apart
    scale_ptr,  # (n_rows,) powers of two
    high_ptr,  # (n_rows, length) contiguous, 16 bit
    low_ptr,
    row_stride,
    n,
    length,
    n_blocks,
    LIMBS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
):
    """``high + low = rows * scale``, zeros from ``n`` to ``length``."""
    program = tl.program_id(0)
    row = (program // n_blocks).to(tl.int64)
    place = (program % n_blocks).to(tl.int64) * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)
    values = tl.load(rows_ptr + row * row_stride + place, mask=place < n, other=0.0)
    values = values * tl.load(scale_ptr + row)
    high = values.to(high_ptr.dtype.element_ty)
    mask = place < length
    tl.store(high_ptr + row * length + place, high, mask=mask)
    if LIMBS == 2:
        low = (values - high.to(tl.float32)).to(low_ptr.dtype.element_ty)
        tl.store(low_ptr + row * length + place, low, mask=mask)


@triton.jit
def dot16(
    left,
    right,
    total,
    WIDEN: tl.constexpr,
):
    """``total + left @ right`` of 16-bit numbers, summed in float32."""
    if WIDEN:
        # the interpreter multiplies the bits of bfloat16; the values in float32 give its products
        total = tl.dot(left.to(tl.float32), right.to(tl.float32), total, input_precision="ieee")
    else:
        total = tl.dot(left, right, total)
    return total
