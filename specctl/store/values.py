"""Between float32 values and the stored type."""

from typing import Any

import numpy as np

from specctl.errors import StoreError
from specctl.store.layout import Layout


def write_values(frames: np.ndarray, out: np.ndarray, layout: Layout) -> None:
    """Convert values to the stored type; ties of a quantised value go to the even code.

    Parameters
    ----------
    frames : ndarray, shape (n, width), float32
    out : ndarray, shape (n, width), stored type
        Where they go.

    Raises
    ------
    StoreError
        A value is outside the range of the stored type, or NaN where that has no code.
    """
    if layout.dtype == "float32":
        np.copyto(out, frames)
    elif layout.dtype == "float16":
        _check_range(frames, frames, layout, np.finfo(np.float16))
        np.copyto(out, frames, casting="same_kind")
    else:
        # in float64, so that the rounding below is the only one
        codes = frames.astype(np.float64)
        codes -= layout.add_offset
        codes /= layout.scale_factor
        np.rint(codes, out=codes)
        _check_range(codes, frames, layout, np.iinfo(layout.dtype))
        np.copyto(out, codes, casting="unsafe")


class ValueDecoder:
    """Turns stored rows into float32 values; integers through a table, rounded once."""

    def __init__(self, layout: Layout) -> None:
        self._table: np.ndarray[Any, np.dtype[np.float32]] | None = None
        if layout.is_integer:
            codes = np.iinfo(layout.dtype)
            # in the order of the codes' unsigned bits, so that a cast of them is the index
            unsigned = np.arange(codes.max - codes.min + 1).astype(f"u{codes.bits // 8}")
            values = unsigned.view(layout.dtype).astype(np.float64)
            self._table = (values * layout.scale_factor + layout.add_offset).astype(np.float32)
            self._index_dtype = unsigned.dtype

    def __call__(self, rows: np.ndarray) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Values of ``rows``, the same shape, float32."""
        if self._table is None:
            values: np.ndarray[Any, np.dtype[np.float32]] = rows.astype(np.float32, copy=False)
            return values
        return np.take(self._table, rows.view(self._index_dtype))


def _check_range(
    codes: np.ndarray, frames: np.ndarray, layout: Layout, limits: "np.finfo[Any] | np.iinfo[Any]"
) -> None:
    if codes.size == 0:
        return
    lowest, highest = codes.min(), codes.max()
    if lowest >= limits.min and highest <= limits.max:
        return
    if np.isnan(lowest):
        raise StoreError(f"spectrogram has values that are not a number, {layout.dtype} has none")
    low, high = layout.value_range
    side, value = ("below", frames.min()) if lowest < limits.min else ("above", frames.max())
    raise StoreError(
        f"value {value:.6g} is {side} the range of {layout.dtype} ({low:.6g} to {high:.6g}); "
        "convert with --dtype float32"
    )
