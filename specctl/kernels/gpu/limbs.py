"""float32 as two 16-bit limbs, so that tensor cores carry 22 bits of it."""

from typing import NamedTuple

import torch
from torch import Tensor

from specctl.config import Precision
from specctl.kernels.gpu.jit.limbs import peak_kernel, split_kernel
from specctl.kernels.gpu.tiles import Tile, launch

_BLOCK = 1024
_TILE = Tile(1, _BLOCK)
_TOP = 14
"""Rows are scaled so that their peak lies in [2**13, 2**14): fp16 ends at 65504."""


class Format(NamedTuple):
    """How the numbers of a product are kept."""

    dtype: torch.dtype
    limbs: int  # 16-bit numbers for each
    is_scaled: bool

    @property
    def widen(self) -> bool:
        """Whether Triton's interpreter has to be given float32 instead."""
        return self.dtype == torch.bfloat16


FORWARD: dict[Precision, Format] = {
    "fp32": Format(torch.float16, 2, is_scaled=True),
    "tf32": Format(torch.float16, 1, is_scaled=True),
    "bf16": Format(torch.bfloat16, 1, is_scaled=False),
}
"""One fp16 limb has the 11 significant bits of TF32, at twice its speed."""

BACKWARD: dict[Precision, Format] = {
    "fp32": Format(torch.bfloat16, 2, is_scaled=False),
    "tf32": Format(torch.bfloat16, 1, is_scaled=False),
    "bf16": Format(torch.bfloat16, 1, is_scaled=False),
}
"""Gradients span more octaves than fp16 has; two limbs of bfloat16 carry 16 bits of any."""


class Limbs(NamedTuple):
    """Rows split in two; ``high + low`` times ``unscale`` is the row."""

    high: Tensor  # (rows, length)
    low: Tensor  # (rows, length), or high again
    unscale: Tensor  # (rows,) powers of two

    @property
    def length(self) -> int:
        """Numbers in a row, those that only fill it up among them."""
        return self.high.shape[1]


def peaks_of(rows: Tensor) -> Tensor:
    """Largest finite magnitude of each row (rows, n), in one reading of it."""
    n_rows, n = rows.shape
    n_blocks = -(-n // _BLOCK)
    peaks = rows.new_empty((n_rows, n_blocks))
    launch(
        peak_kernel,
        (n_rows * n_blocks,),
        _TILE,
        rows_ptr=rows,
        peaks_ptr=peaks,
        row_stride=rows.stride(0),
        n=n,
        n_blocks=n_blocks,
        BLOCK_SIZE=_BLOCK,
    )
    return peaks.amax(dim=1)


def exponents_of(peaks: Tensor, kept: Format) -> Tensor:
    """Power of two that each row is multiplied with, as integers; 0 where nothing is scaled."""
    if not kept.is_scaled:
        return torch.zeros_like(peaks, dtype=torch.int32)
    exponents: Tensor = torch.frexp(peaks).exponent
    # a float32 holds 2**±126; rows that quiet have no more bits to save, and of rows with a peak
    # above 2**114 fp16 may not hold the loudest samples
    return (_TOP - exponents).clamp(-100, 100)


def power_of_two(exponents: Tensor) -> Tensor:
    """``2.0 ** exponents``, exactly on every device."""
    return ((exponents + 127) << 23).to(torch.int32).view(torch.float32)


def split(rows: Tensor, exponents: Tensor, length: int, kept: Format) -> Limbs:
    """Limbs of rows (rows, n) times ``2 ** exponents``, filled with zeros to ``length``."""
    n_rows, n = rows.shape
    high = torch.empty((n_rows, length), dtype=kept.dtype, device=rows.device)
    low = torch.empty_like(high) if kept.limbs == 2 else high
    n_blocks = -(-length // _BLOCK)
    launch(
        split_kernel,
        (n_rows * n_blocks,),
        _TILE,
        rows_ptr=rows,
        scale_ptr=power_of_two(exponents),
        high_ptr=high,
        low_ptr=low,
        row_stride=rows.stride(0),
        n=n,
        length=length,
        n_blocks=n_blocks,
        LIMBS=kept.limbs,
        BLOCK_SIZE=_BLOCK,
    )
    return Limbs(high, low, power_of_two(-exponents))
