"""Discrete Fourier transforms of 2 to 13 points: the steps that an FFT is made of."""

import math
from collections.abc import Sequence

from specctl.kernels.native.code import Code, Complex

LENGTHS = (8, 4, 2, 3, 5, 7, 11, 13)
"""Every length there is a butterfly for, in the order in which a plan should use them."""


def butterfly(code: Code, points: Sequence[Complex]) -> list[Complex]:
    """``sum_k points[k] * exp(-2j * pi * k * q / len(points))`` for each q."""
    match len(points):
        case 2:
            return [points[0] + points[1], points[0] - points[1]]
        case 4:
            return _four(points)
        case 8:
            return _eight(code, points)
        case _:
            return _odd(code, points)


def _four(points: Sequence[Complex]) -> list[Complex]:
    even, even_difference = points[0] + points[2], points[0] - points[2]
    odd, odd_difference = points[1] + points[3], points[1] - points[3]
    return [
        even + odd,
        even_difference.minus_i_times(odd_difference),
        even - odd,
        even_difference.plus_i_times(odd_difference),
    ]


def _eight(code: Code, points: Sequence[Complex]) -> list[Complex]:
    even, odd = _four(points[0::2]), _four(points[1::2])
    root = code.constant(math.sqrt(0.5))
    # the eighths of a turn: (1 - i) / sqrt(2), and i * (-1 - i) / sqrt(2) = (1 - i) / sqrt(2)
    first = Complex((odd[1].real + odd[1].imag) * root, (odd[1].imag - odd[1].real) * root)
    third = Complex((odd[3].real + odd[3].imag) * root, (odd[3].imag - odd[3].real) * root)
    return [
        even[0] + odd[0],
        even[1] + first,
        even[2].minus_i_times(odd[2]),
        even[3].minus_i_times(third),
        even[0] - odd[0],
        even[1] - first,
        even[2].plus_i_times(odd[2]),
        even[3].plus_i_times(third),
    ]


def _odd(code: Code, points: Sequence[Complex]) -> list[Complex]:
    """Points k and -k share their cosines and, but for the sign, their sines."""
    length = len(points)
    half = range(1, (length + 1) // 2)
    sums = [points[k] + points[length - k] for k in half]
    differences = [points[k] - points[length - k] for k in half]
    results = [points[0]] * length
    for term in sums:
        results[0] = results[0] + term
    for q in half:
        cosines, sines = points[0], None
        for k, total, difference in zip(half, sums, differences, strict=True):
            angle = 2 * math.pi * (q * k % length) / length
            cosine, sine = code.constant(math.cos(angle)), code.constant(math.sin(angle))
            cosines = cosines + Complex(cosine * total.real, cosine * total.imag)
            turned = Complex(sine * difference.real, sine * difference.imag)
            sines = turned if sines is None else sines + turned
        if sines is not None:
            results[q] = cosines.minus_i_times(sines)
            results[length - q] = cosines.plus_i_times(sines)
    return results
