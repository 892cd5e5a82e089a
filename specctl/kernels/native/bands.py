"""From products with a basis to bands, and a gradient the way back, in one pass each.

torch takes nine passes for it, and memory as large as half of the products for most of them; for
short frames that is as long as the products themselves take.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from llvmlite import ir

from specctl.compiler import Compiled, compiled, host
from specctl.kernels.native.code import INDEX, POINTER, Code, Vector

_VECTORS = 4
"""Neighbouring vectors of frames at a time, so that few weights are loaded for many frames."""

_NARROW = 8
"""Frames of which the rest is a multiple, mostly."""

_SMALLEST = 1e-45
"""The least float32 number above 0."""

_Array = tuple[ir.Value, ir.Value]
"""Address and distance of rows."""

_Body = Callable[["_Products", ir.Value, ir.Value], None]


class _Table(NamedTuple):
    """Rows of weights, each only from its first to its last that is not zero."""

    ranges: np.ndarray  # (n, 3) int64: first, end, where the weight of column 0 would be
    weights: np.ndarray  # float32

    @classmethod
    def of(cls, matrix: np.ndarray) -> "_Table":
        """Of a matrix (n, m); a row of zeros keeps one of them."""
        is_used = matrix != 0
        first = is_used.argmax(axis=1)
        end = matrix.shape[1] - is_used[:, ::-1].argmax(axis=1)
        end[~is_used.any(axis=1)] = 1
        starts = np.cumsum(end - first) - (end - first)
        weights = [row[i:j] for row, i, j in zip(matrix, first, end, strict=True)]
        return cls(
            np.stack([first, end, starts - first], axis=1).astype(np.int64),
            np.concatenate(weights).astype(np.float32),
        )


class NativeBands:
    """Bands of the magnitudes of products, with any exponent that is 1 or 2.

    All arrays are float32, of as many columns as there are frames, neighbours in memory.

    Parameters
    ----------
    mel : ndarray, shape (n_mels, n_freqs)
        Weights of the bands, most of them zero.
    power : float
        Exponent of the magnitude, 1 or 2.
    """

    def __init__(self, mel: np.ndarray, power: float) -> None:
        self._n_freqs = mel.shape[1]
        self._power = int(power)
        self._forward = _Table.of(mel)
        # the slope of a square is twice the number, that of a magnitude is without a two
        self._backward = _Table.of(mel.T * np.float32(self._power))

    def values(self, products: np.ndarray, out: np.ndarray) -> None:
        """Fill (n_mels, n) with the bands of products (2 * n_freqs, n), real parts first."""
        self._run("values", self._forward, len(out), products, out, out)

    def weigh(self, products: np.ndarray, gradient: np.ndarray, out: np.ndarray) -> None:
        """Fill (2 * n_freqs, n) with the gradient in products, which may be in the same place.

        ``gradient`` (n_mels, n) is that in the bands; where there is silence it is 0.
        """
        self._run("weigh", self._backward, self._n_freqs, products, gradient, out)

    def _run(
        self,
        name: str,
        table: _Table,
        n_rows: int,
        products: np.ndarray,
        bands: np.ndarray,
        out: np.ndarray,
    ) -> None:
        arrays = (products, bands, out)
        strides = [array.strides[0] // array.itemsize for array in arrays]
        start, n_columns = 0, products.shape[1]
        for lanes in (_VECTORS * host().lanes, _NARROW, 1):
            n_groups = (n_columns - start) // lanes
            if not n_groups:
                continue
            places = [array.ctypes.data + start * array.itemsize for array in arrays]
            tables = (table.ranges.ctypes.data, table.weights.ctypes.data)
            numbers = (self._n_freqs, n_rows, n_groups)
            _function(name, self._power, lanes)(*places, *strides, *tables, *numbers)
            start += n_groups * lanes


@lru_cache(maxsize=12)
def _function(name: str, power: int, lanes: int) -> Compiled:
    """One of the two passes over groups of ``lanes`` columns."""
    module = ir.Module()
    kinds = [POINTER] * 3 + [INDEX] * 3 + [POINTER] * 2 + [INDEX] * 3
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    builder = ir.IRBuilder(function.append_basic_block())
    code = Code(builder, lanes)
    arrays = zip(function.args[:3], function.args[3:6], strict=True)
    table, (n_freqs, n_rows, n_groups) = function.args[6:8], function.args[8:]
    work = _Products(code, power, n_freqs, *arrays, *table)
    body: _Body = _Products.put_band if name == "values" else _Products.put_gradient
    code.loop(
        n_rows,
        lambda row: code.loop(n_groups, lambda group: body(work, row, code.times(group, lanes))),
    )
    builder.ret_void()
    return compiled(module, name, "pppnnnppnnn")


class _Products:
    """Writes what is done to a few neighbouring columns."""

    def __init__(
        self,
        code: Code,
        power: int,
        n_freqs: ir.Value,
        products: _Array,
        bands: _Array,
        out: _Array,
        ranges: ir.Value,
        weights: ir.Value,
    ) -> None:
        self._code, self._power, self._n_freqs = code, power, n_freqs
        self._products, self._bands, self._out = products, bands, out
        self._ranges, self._weights = ranges, weights

    def put_band(self, band: ir.Value, column: ir.Value) -> None:
        """The sum of weighted powers of the bins of a band."""
        total = self._weighted(band, lambda row: self._magnitude(row, column))
        self._code.store(total, self._at(self._out, band, column))

    def put_gradient(self, freq: ir.Value, column: ir.Value) -> None:
        """Both products of a bin times the slope that its bands give."""
        code = self._code
        slope = self._weighted(freq, lambda band: code.load(self._at(self._bands, band, column)))
        pair = self._pair(freq, column)
        if self._power == 1:
            square, smallest = self._squared(*pair), code.constant(_SMALLEST)
            slope = slope / code.square_root(square)
            slope = code.where_below(square, smallest, code.constant(0.0), slope)
        for part, row in zip(pair, self._rows(freq), strict=True):
            code.store(part * slope, self._at(self._out, row, column))

    def _weighted(self, row: ir.Value, of: Callable[[ir.Value], Vector]) -> Vector:
        """The sum of what ``of`` gives over the columns of a row of the table."""
        code = self._code
        start = code.times(row, 3)
        first, end, origin = (code.entry(self._ranges, code.add(start, i)) for i in range(3))

        def add(place: ir.Value, so_far: Vector) -> Vector:
            weight = code.spread(code.at(self._weights, code.add(origin, place)))
            return so_far + weight * of(place)

        return code.sums(first, end, add)

    def _magnitude(self, freq: ir.Value, column: ir.Value) -> Vector:
        square = self._squared(*self._pair(freq, column))
        return square if self._power == 2 else self._code.square_root(square)

    def _squared(self, real: Vector, imag: Vector) -> Vector:
        return real * real + imag * imag

    def _pair(self, freq: ir.Value, column: ir.Value) -> tuple[Vector, Vector]:
        real, imag = self._rows(freq)
        return (
            self._code.load(self._at(self._products, real, column)),
            self._code.load(self._at(self._products, imag, column)),
        )

    def _rows(self, freq: ir.Value) -> tuple[ir.Value, ir.Value]:
        return freq, self._code.add(freq, self._n_freqs)

    def _at(self, array: _Array, row: ir.Value, column: ir.Value) -> ir.Value:
        pointer, stride = array
        code = self._code
        return code.at(pointer, code.add(code.times(row, stride), column))
