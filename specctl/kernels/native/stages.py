"""The function that is compiled: samples of as many frames as there are lanes to their rows."""

import math
from dataclasses import dataclass

from llvmlite import ir

from specctl.kernels.native.butterflies import butterfly
from specctl.kernels.native.code import INDEX, POINTER, Code, Complex, Vector
from specctl.kernels.native.program import Logarithm, Program, Tables

NAME = "spectrogram"

# log(1 + x) = x - x**2 / 2 + x**3 * P(x) on [sqrt(1/2) - 1, sqrt(2) - 1]
_LOG_TERMS = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)


def module(program: Program, tables: Tables) -> ir.Module:
    """LLVM's form of the function ``spectrogram``.

    Its arguments are the address of the first sample, the hop, the number of groups of frames,
    the two tables, scratch memory, the address of the result and the numbers in its rows.
    """
    result = ir.Module()
    kind = ir.FunctionType(
        ir.VoidType(), [POINTER, INDEX, INDEX, POINTER, POINTER, POINTER, POINTER, INDEX]
    )
    function = ir.Function(result, kind, NAME)
    for argument in function.args:
        if argument.type == POINTER:
            argument.add_attribute("noalias")
    builder = ir.IRBuilder(function.append_basic_block())
    wave, hop, n_groups, floats, indices, scratch, out, stride = function.args
    code = Code(builder, program.lanes)
    group = _Group(code, program, tables, floats, indices, scratch)
    step = code.times(hop, program.lanes)
    out_step = (
        code.index(program.lanes * (2 if program.exponent is None else 1))
        if program.layout == "bins"
        else code.times(stride, program.lanes)
    )

    def body(number: ir.Value) -> None:
        group.load_frames(code.at(wave, code.times(number, step)), hop)
        group.transform(scratch, 0)
        group.split()
        group.finish(code.at(out, code.times(number, out_step)), stride)

    code.loop(n_groups, body)
    builder.ret_void()
    return result


@dataclass(frozen=True, slots=True)
class _Group:
    """The stages, over scratch memory in which a row holds one number of every frame."""

    code: Code
    program: Program
    tables: Tables
    floats: ir.Value
    indices: ir.Value
    scratch: ir.Value

    def load_frames(self, wave: ir.Value, hop: ir.Value) -> None:
        """Windowed samples, transposed so that a row holds one sample of every frame."""
        code, lanes, n_fft = self.code, self.program.lanes, self.program.plan.n_fft
        frames = [code.at(wave, code.times(hop, lane)) for lane in range(lanes)]
        window = code.at(self.floats, self.tables.window)

        def load(first: ir.Value) -> None:
            rows = [code.load(code.at(frame, first)) for frame in frames]
            for offset, row in enumerate(code.transposed(rows)):
                sample = code.add(first, offset)
                tapered = row * code.spread(code.at(window, sample))
                code.store(tapered, code.at(self.scratch, code.times(sample, lanes)))

        code.loop(n_fft // lanes, lambda block: load(code.times(block, lanes)))
        if n_fft % lanes:
            load(code.index(n_fft - lanes))

    def transform(self, start: ir.Value, step: int) -> None:
        """The steps of the FFT from ``step`` on, over one of the blocks that are left by then.

        Block after block and not step after step: what a block needs then stays in the cache.
        """
        code, plan, lanes = self.code, self.program.plan, self.program.lanes
        r, length = plan.steps[step], plan.lengths()[step]
        apart = length // r
        is_last = step == len(plan.steps) - 1

        def turn(place: ir.Value) -> None:
            first = code.at(start, code.times(place, 2 * lanes))
            points = [code.at(first, k * apart * 2 * lanes) for k in range(r)]
            results = butterfly(code, [code.load_complex(point) for point in points])
            if not is_last:
                table = code.at(self.floats, self.tables.twiddles[step])
                factors = code.at(table, code.times(place, 2 * (r - 1)))
                for k in range(1, r):
                    results[k] = results[k] * code.spread_complex(code.at(factors, 2 * (k - 1)))
            for result, point in zip(results, points, strict=True):
                code.store_complex(result, point)

        code.loop(apart, turn)
        if not is_last:
            block = 2 * apart * lanes
            code.loop(r, lambda k: self.transform(code.at(start, code.times(k, block)), step + 1))

    def split(self) -> None:
        """The FFTs of even and odd samples, held as one, to the spectrum of all samples."""
        code, tables, length = self.code, self.tables, self.program.plan.length

        def body(k: ir.Value) -> None:
            pair = code.add(code.times(k, 2), tables.pairs)
            here = code.load_complex(code.at(self.scratch, code.entry(self.indices, pair)))
            there = code.load_complex(
                code.at(self.scratch, code.entry(self.indices, code.add(pair, 1)))
            )
            table = code.at(self.floats, tables.rotations)
            rotation = code.spread_complex(code.at(table, code.times(k, 2)))
            even = Complex(here.real + there.real, here.imag - there.imag)
            odd = Complex(here.real - there.real, here.imag + there.imag) * rotation
            self._store_bin(even + odd, k)
            mirrored = even - odd
            self._store_bin(
                Complex(mirrored.real, -mirrored.imag), code.builder.sub(code.index(length), k)
            )

        code.loop(length // 2 + 1, body)

    def _store_bin(self, value: Complex, number: ir.Value) -> None:
        code, program = self.code, self.program
        spectrum = code.at(self.scratch, program.spectrum_start)
        if program.exponent is None:
            code.store_complex(value, code.at(spectrum, code.times(number, 2 * program.lanes)))
            return
        size = value.squared_magnitude()
        if program.exponent == 1:
            size = code.square_root(size)
        code.store(size, code.at(spectrum, code.times(number, program.lanes)))

    def finish(self, out: ir.Value, stride: ir.Value) -> None:
        """Mel bands and logarithm where there are any, then the result in its layout."""
        code, program, lanes = self.code, self.program, self.program.lanes
        spectrum = code.at(self.scratch, program.spectrum_start)
        if program.exponent is None:
            if program.layout == "bins":
                self._interleave(spectrum, out, stride)
            else:
                self._transpose(spectrum, out, stride)
            return
        rows = code.at(self.scratch, program.rows_start)

        def row(number: ir.Value) -> None:
            if program.n_mels is None:
                value = code.load(code.at(spectrum, code.times(number, lanes)))
            else:
                value = self._band(number, spectrum)
            if program.log is not None:
                value = _logarithm(code, value, program.log)
            if program.layout == "bins":
                code.store(value, code.at(out, code.times(number, stride)))
            else:
                code.store(value, code.at(rows, code.times(number, lanes)))

        code.loop(program.n_rows, row)
        if program.layout == "frames":
            self._transpose(rows, out, stride)

    def _band(self, number: ir.Value, spectrum: ir.Value) -> Vector:
        """The weighted sum of the bins of one mel band."""
        code, lanes = self.code, self.program.lanes
        entry = code.add(code.times(number, 3), self.tables.bands)
        first, end, start = (
            code.entry(self.indices, code.add(entry, place)) for place in range(3)
        )
        weights = code.at(code.at(self.floats, self.tables.weights), start)

        def add(k: ir.Value, total: Vector) -> Vector:
            value = code.load(code.at(spectrum, code.times(k, lanes)))
            return total + code.spread(code.at(weights, k)) * value

        return code.sums(first, end, add)

    def _interleave(self, spectrum: ir.Value, out: ir.Value, stride: ir.Value) -> None:
        """Complex rows, real parts before imaginary parts, to complex numbers."""
        code, lanes = self.code, self.program.lanes

        def row(number: ir.Value) -> None:
            value = code.load_complex(code.at(spectrum, code.times(number, 2 * lanes)))
            first, second = code.interleaved(value.real, value.imag)
            place = code.at(out, code.times(number, stride))
            code.store(first, place)
            code.store(second, code.at(place, lanes))

        code.loop(self.program.n_freqs, row)

    def _transpose(self, rows: ir.Value, out: ir.Value, stride: ir.Value) -> None:
        """Rows of one number of every frame to frames of all their numbers."""
        code, lanes, n_rows = self.code, self.program.lanes, self.program.n_rows

        def block(first: ir.Value) -> None:
            numbers = [
                code.load(code.at(rows, code.times(code.add(first, row), lanes)))
                for row in range(lanes)
            ]
            for frame, vector in enumerate(code.transposed(numbers)):
                code.store(vector, code.at(code.at(out, code.times(stride, frame)), first))

        if n_rows >= lanes:
            code.loop(n_rows // lanes, lambda number: block(code.times(number, lanes)))
            if n_rows % lanes:
                block(code.index(n_rows - lanes))
            return
        for row in range(n_rows):
            vector = code.load(code.at(rows, row * lanes))
            for frame in range(lanes):
                place = code.at(code.at(out, code.times(stride, frame)), row)
                code.store_lane(vector, frame, place)


def _logarithm(code: Code, value: Vector, log: Logarithm) -> Vector:
    """The scale of `Logarithm`, within a unit or two of the last place of the logarithm."""
    mantissa, exponent = code.split_exponent(value)
    x = mantissa - code.constant(1.0)
    terms = code.constant(_LOG_TERMS[0])
    for term in _LOG_TERMS[1:]:
        terms = terms * x + code.constant(term)
    square = x * x
    natural = x + (terms * x * square - code.constant(0.5) * square)
    scaled = natural * code.constant(log.factor / math.log(10.0)) + (
        exponent * code.constant(log.factor * math.log10(2.0)) - code.constant(log.offset)
    )
    # infinity and NaN have no mantissa: as they came, which is also their logarithm
    finite = code.where_below(value, code.constant(math.inf), scaled, value)
    amin = code.constant(log.amin)
    return code.where_below(value, amin, code.constant(log.floor), finite)
