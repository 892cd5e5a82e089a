"""Writing LLVM instructions as arithmetic on values that stand for vector registers."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from llvmlite import ir

FLOAT = ir.FloatType()
INDEX = ir.IntType(64)
POINTER = ir.PointerType()

_LANE = ir.IntType(32)
_FUSED = ("contract",)  # a product and a sum may become one instruction, rounded once


@dataclass(frozen=True, slots=True)
class Vector:
    """One number for each lane; arithmetic on it writes instructions."""

    code: "Code"
    value: ir.Value

    def __add__(self, other: "Vector") -> "Vector":
        return Vector(self.code, self.code.builder.fadd(self.value, other.value, flags=_FUSED))

    def __sub__(self, other: "Vector") -> "Vector":
        return Vector(self.code, self.code.builder.fsub(self.value, other.value, flags=_FUSED))

    def __mul__(self, other: "Vector") -> "Vector":
        return Vector(self.code, self.code.builder.fmul(self.value, other.value, flags=_FUSED))

    def __truediv__(self, other: "Vector") -> "Vector":
        return Vector(self.code, self.code.builder.fdiv(self.value, other.value))

    def __neg__(self) -> "Vector":
        return Vector(self.code, self.code.builder.fneg(self.value))


@dataclass(frozen=True, slots=True)
class Complex:
    """A complex number for each lane."""

    real: Vector
    imag: Vector

    def __add__(self, other: "Complex") -> "Complex":
        return Complex(self.real + other.real, self.imag + other.imag)

    def __sub__(self, other: "Complex") -> "Complex":
        return Complex(self.real - other.real, self.imag - other.imag)

    def __mul__(self, other: "Complex") -> "Complex":
        return Complex(
            self.real * other.real - self.imag * other.imag,
            self.real * other.imag + self.imag * other.real,
        )

    def plus_i_times(self, other: "Complex") -> "Complex":
        """``self + i * other``."""
        return Complex(self.real - other.imag, self.imag + other.real)

    def minus_i_times(self, other: "Complex") -> "Complex":
        """``self - i * other``."""
        return Complex(self.real + other.imag, self.imag - other.real)

    def squared_magnitude(self) -> Vector:
        """``|self| ** 2``."""
        return self.real * self.real + self.imag * self.imag


class Code:
    """Writes one function, whose numbers are float32 if nothing else is said.

    Indices and lengths count float32 numbers, or INDEX numbers where it says so; each may be a
    Python int or a value of the program.
    """

    def __init__(self, builder: ir.IRBuilder, lanes: int, number: ir.Type = FLOAT) -> None:
        self.builder = builder
        self.lanes = lanes
        self._number = number
        self.vector_type = ir.VectorType(number, lanes)
        self._bits = ir.VectorType(_LANE, lanes)

    def index(self, number: "int | ir.Value") -> ir.Value:
        """A number of the program."""
        return ir.Constant(INDEX, number) if isinstance(number, int) else number

    def add(self, left: ir.Value, right: "int | ir.Value") -> ir.Value:
        """Sum of two indices."""
        return self.builder.add(left, self.index(right))

    def times(self, left: ir.Value, right: "int | ir.Value") -> ir.Value:
        """Product of two indices."""
        return self.builder.mul(left, self.index(right))

    def at(self, pointer: ir.Value, offset: "int | ir.Value") -> ir.Value:
        """The address ``offset`` float32 numbers further."""
        return self.builder.gep(pointer, [self.index(offset)], source_etype=FLOAT)

    def entry(self, table: ir.Value, place: "int | ir.Value") -> ir.Value:
        """An INDEX number of a table."""
        where = self.builder.gep(table, [self.index(place)], source_etype=INDEX)
        return self.builder.load(where, typ=INDEX)

    def constant(self, number: float) -> Vector:
        """The same number in every lane."""
        return Vector(self, _constant(self._number, (_rounded(number),) * self.lanes))

    def load(self, pointer: ir.Value) -> Vector:
        """Neighbouring numbers, one to each lane."""
        value = self.builder.load(pointer, typ=self.vector_type)
        value.align = 4
        return Vector(self, value)

    def store(self, vector: Vector, pointer: ir.Value) -> None:
        """The numbers of all lanes, next to each other."""
        self.builder.store(vector.value, pointer, align=4)

    def load_complex(self, pointer: ir.Value) -> Complex:
        """Real parts of all lanes, then imaginary parts."""
        return Complex(self.load(pointer), self.load(self.at(pointer, self.lanes)))

    def store_complex(self, number: Complex, pointer: ir.Value) -> None:
        """Real parts of all lanes, then imaginary parts."""
        self.store(number.real, pointer)
        self.store(number.imag, self.at(pointer, self.lanes))

    def spread(self, pointer: ir.Value) -> Vector:
        """One number from memory in every lane."""
        return self.spread_value(self.builder.load(pointer, typ=self._number))

    def spread_value(self, number: ir.Value) -> Vector:
        """One number in every lane."""
        nothing = ir.Constant(self.vector_type, ir.Undefined)
        first = self.builder.insert_element(nothing, number, ir.Constant(_LANE, 0))
        return Vector(self, self._shuffled(first, first, [0] * self.lanes))

    def spread_complex(self, pointer: ir.Value) -> Complex:
        """One complex number from memory in every lane."""
        return Complex(self.spread(pointer), self.spread(self.at(pointer, 1)))

    def store_lane(self, vector: Vector, lane: int, pointer: ir.Value) -> None:
        """The number of one lane."""
        number = self.builder.extract_element(vector.value, ir.Constant(_LANE, lane))
        self.builder.store(number, pointer, align=4)

    def square_root(self, vector: Vector) -> Vector:
        """Square root in every lane."""
        name = f"llvm.sqrt.v{self.lanes}f32"
        module = self.builder.module
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(self.vector_type, [self.vector_type]), name
        )
        return Vector(self, self.builder.call(function, [vector.value]))

    def where_below(
        self, vector: Vector, limit: Vector, then: Vector, otherwise: Vector
    ) -> Vector:
        """``then`` in the lanes where ``vector < limit``; NaN is not below anything."""
        below = self.builder.fcmp_ordered("<", vector.value, limit.value)
        return Vector(self, self.builder.select(below, then.value, otherwise.value))

    def split_exponent(self, vector: Vector) -> tuple[Vector, Vector]:
        """Positive normal numbers as ``m * 2**e``: m in [sqrt(1/2), sqrt(2)), and e."""
        builder = self.builder
        bits = builder.bitcast(vector.value, self._bits)
        above = builder.sub(bits, self._lanes_of(0x3F3504F3))  # the bits of sqrt(1/2)
        exponent = builder.ashr(above, self._lanes_of(23))
        mantissa = builder.sub(bits, builder.shl(exponent, self._lanes_of(23)))
        return (
            Vector(self, builder.bitcast(mantissa, self.vector_type)),
            Vector(self, builder.sitofp(exponent, self.vector_type)),
        )

    def interleaved(self, left: Vector, right: Vector) -> tuple[Vector, Vector]:
        """``l0 r0 l1 r1 …`` of two vectors, as two vectors."""
        lanes = self.lanes
        order = [lane for first in range(lanes) for lane in (first, lanes + first)]
        return (
            Vector(self, self._shuffled(left.value, right.value, order[:lanes])),
            Vector(self, self._shuffled(left.value, right.value, order[lanes:])),
        )

    def transposed(self, rows: Sequence[Vector]) -> list[Vector]:
        """As many vectors as there are lanes: lane i of row j becomes lane j of row i."""
        half = self.lanes // 2
        rows = list(rows)
        for _ in range(self.lanes.bit_length() - 1):
            pairs = [self.interleaved(rows[i], rows[i + half]) for i in range(half)]
            rows = [row for pair in pairs for row in pair]
        return rows

    def loop(self, count: "int | ir.Value", body: Callable[[ir.Value], None]) -> None:
        """``body`` for 0, 1, … below ``count``, which is at least 1."""
        if isinstance(count, int) and count == 1:
            body(self.index(0))
            return

        def turn(number: ir.Value, _: list[Vector]) -> list[Vector]:
            body(number)
            return []

        self._loop(self.index(0), self.index(count), [], turn)

    def sums(
        self,
        first: ir.Value,
        end: ir.Value,
        body: Callable[[ir.Value, Vector], Vector],
    ) -> Vector:
        """``body(i, sum so far)`` for i in [first, end), not empty; from a sum of 0."""
        return self._loop(first, end, [self.constant(0.0)], lambda i, s: [body(i, s[0])])[0]

    def _loop(
        self,
        first: ir.Value,
        end: ir.Value,
        carried: list[Vector],
        body: Callable[[ir.Value, list[Vector]], list[Vector]],
    ) -> list[Vector]:
        builder = self.builder
        before = builder.block
        inside, after = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(inside)
        builder.position_at_end(inside)
        place = builder.phi(INDEX)
        place.add_incoming(first, before)
        phis = [builder.phi(self.vector_type) for _ in carried]
        results = body(place, [Vector(self, phi) for phi in phis])
        following = self.add(place, 1)
        place.add_incoming(following, builder.block)
        for phi, start, result in zip(phis, carried, results, strict=True):
            phi.add_incoming(start.value, before)
            phi.add_incoming(result.value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, end), inside, after)
        builder.position_at_end(after)
        return results

    def _lanes_of(self, number: int) -> ir.Constant:
        return _constant(_LANE, (number,) * self.lanes)

    def _shuffled(self, left: ir.Value, right: ir.Value, order: list[int]) -> ir.Value:
        return self.builder.shuffle_vector(left, right, _constant(_LANE, tuple(order)))


@cache
def _constant(kind: ir.Type, numbers: tuple[float, ...]) -> ir.Constant:
    """A vector of numbers; the same object each time, which spells itself out only once."""
    return ir.Constant(ir.VectorType(kind, len(numbers)), numbers)


def _rounded(number: float) -> float:
    """To float32; LLVM takes only constants that are exact."""
    (rounded,) = struct.unpack("f", struct.pack("f", number))
    return float(rounded)
