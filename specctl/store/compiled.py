"""Two loops over all values of a store, compiled for the processor at hand.

NumPy takes five passes for the moments of a block and moves single bytes for a shuffle; together
that is as long as computing a mel spectrogram takes.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from llvmlite import ir

from specctl.compiler import compiled
from specctl.kernels.native.code import FLOAT, INDEX, POINTER, Code, Vector

_DOUBLE = ir.DoubleType()
_BYTE = ir.IntType(8)
_COLUMNS = 8
_VALUES = 32


@lru_cache(maxsize=8)
def moments(width: int) -> Callable[[np.ndarray, np.ndarray, np.ndarray], None]:
    """A function that finds the mean and the sum of squared deviations of each column.

    It takes a contiguous float32 array of shape (n, ``width``), n at least 1, and two float64
    arrays of shape (``width``,) for the results. Sums are taken in float64 from the first row to
    the last, as NumPy does over the first axis.
    """
    call = compiled(_moments_module(width), "moments", "pnpp")

    def run(block: np.ndarray, mean: np.ndarray, m2: np.ndarray) -> None:
        call(block.ctypes.data, len(block), mean.ctypes.data, m2.ctypes.data)

    return run


@lru_cache(maxsize=4)
def shuffle(item_bytes: int) -> Callable[[np.ndarray, np.ndarray], None]:
    """A function that takes values apart: all first bytes, then all second ones, and so on.

    It takes a contiguous array of n values of ``item_bytes`` bytes and a uint8 array of shape
    (``item_bytes``, n) for the result.
    """
    call = compiled(_shuffle_module(item_bytes), "shuffle", "pnpn")

    def run(values: np.ndarray, planes: np.ndarray) -> None:
        n_whole = values.size // _VALUES
        if n_whole:
            call(values.ctypes.data, n_whole, planes.ctypes.data, planes.shape[1])
        first = n_whole * _VALUES
        if first < values.size:
            rest = values[first:].view(np.uint8)
            planes[:, first:] = rest.reshape(-1, item_bytes).T

    return run


def warm_up(width: int, shuffled_bytes: int) -> None:
    """Have the code for rows of ``width`` values ready; shuffled if they have several bytes."""
    moments(width)
    if shuffled_bytes > 1:
        shuffle(shuffled_bytes)


def _moments_module(width: int) -> ir.Module:
    module = ir.Module()
    kind = ir.FunctionType(ir.VoidType(), [POINTER, INDEX, POINTER, POINTER])
    function = ir.Function(module, kind, "moments")
    block, n_frames, mean, m2 = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    n_wide, n_single = divmod(width, _COLUMNS)
    if n_wide:
        wide = _Columns(Code(builder, _COLUMNS, _DOUBLE), block, n_frames, width)
        wide.code.loop(
            n_wide, lambda number: wide.reduce(wide.code.times(number, _COLUMNS), mean, m2)
        )
    if n_single:
        single = _Columns(Code(builder, 1, _DOUBLE), block, n_frames, width)
        single.code.loop(
            n_single,
            lambda number: single.reduce(single.code.add(number, n_wide * _COLUMNS), mean, m2),
        )
    builder.ret_void()
    return module


class _Columns:
    """Neighbouring columns, one to each lane."""

    def __init__(self, code: Code, block: ir.Value, n_frames: ir.Value, width: int) -> None:
        self.code, self._block, self._n_frames, self._width = code, block, n_frames, width

    def reduce(self, column: ir.Value, mean: ir.Value, m2: ir.Value) -> None:
        """Mean and squared deviations of the columns from ``column`` on."""
        code, builder = self.code, self.code.builder
        count = builder.sitofp(self._n_frames, _DOUBLE)
        first = code.index(0)
        total = code.sums(
            first, self._n_frames, lambda row, so_far: self._plus(so_far, self._at(row, column))
        )
        centre = Vector(code, builder.fdiv(total.value, code.spread_value(count).value))

        def squared(row: ir.Value, so_far: Vector) -> Vector:
            deviation = builder.fsub(self._at(row, column).value, centre.value)
            # not fused: the same numbers on every processor
            return self._plus(so_far, Vector(code, builder.fmul(deviation, deviation)))

        code.store(centre, builder.gep(mean, [column], source_etype=_DOUBLE))
        squares = code.sums(first, self._n_frames, squared)
        code.store(squares, builder.gep(m2, [column], source_etype=_DOUBLE))

    def _plus(self, left: Vector, right: Vector) -> Vector:
        return Vector(self.code, self.code.builder.fadd(left.value, right.value))

    def _at(self, row: ir.Value, column: ir.Value) -> Vector:
        code, builder = self.code, self.code.builder
        place = code.at(self._block, code.add(code.times(row, self._width), column))
        narrow = builder.load(place, typ=ir.VectorType(FLOAT, code.lanes))
        narrow.align = 4
        return Vector(code, builder.fpext(narrow, code.vector_type))


def _shuffle_module(item_bytes: int) -> ir.Module:
    module = ir.Module()
    kind = ir.FunctionType(ir.VoidType(), [POINTER, INDEX, POINTER, INDEX])
    function = ir.Function(module, kind, "shuffle")
    for argument in function.args:
        if argument.type == POINTER:
            argument.add_attribute("noalias")
    values, n_groups, planes, n_values = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    code = Code(builder, _VALUES)
    item = ir.IntType(8 * item_bytes)
    items, parts = ir.VectorType(item, _VALUES), ir.VectorType(_BYTE, _VALUES)

    def body(number: ir.Value) -> None:
        first = code.times(number, _VALUES)
        group = builder.load(builder.gep(values, [first], source_etype=item), typ=items)
        group.align = item_bytes
        for place in range(item_bytes):
            shifted = builder.lshr(group, ir.Constant(items, [8 * place] * _VALUES))
            start = code.add(code.times(n_values, place), first)
            out = builder.gep(planes, [start], source_etype=_BYTE)
            builder.store(builder.trunc(shifted, parts), out, align=1)

    code.loop(n_groups, body)
    builder.ret_void()
    return module
