"""Random damage to bytes; input ``number`` of a seed is always the same."""

from collections.abc import Callable, Sequence

import numpy as np

Damage = Callable[[bytearray, np.random.Generator, Sequence[bytes]], None]

_NUMBERS = (
    *(0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF),
    *(2**36 - 1, 2**40, 2**63, 2**64 - 1),
)
"""At the edge of something."""


def _place(data: bytearray, random: np.random.Generator) -> int:
    return int(random.integers(len(data) + 1))


def flip(data: bytearray, random: np.random.Generator, words: Sequence[bytes]) -> None:
    """A few bits."""
    for _ in range(int(random.integers(1, 9))):
        if data:
            data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))


def overwrite(data: bytearray, random: np.random.Generator, words: Sequence[bytes]) -> None:
    """A number that is at the edge of something, in 1 to 8 bytes of either order."""
    width = int(random.choice([1, 2, 4, 8]))
    value = _NUMBERS[random.integers(len(_NUMBERS))] % 256**width
    place = _place(data, random)
    order = "little" if random.integers(2) else "big"
    data[place : place + width] = value.to_bytes(width, order)


def copy(data: bytearray, random: np.random.Generator, words: Sequence[bytes]) -> None:
    """A stretch over another one."""
    first, second, length = _place(data, random), _place(data, random), random.integers(1, 512)
    stretch = data[first : first + int(length)]
    data[second : second + len(stretch)] = stretch


def noise(data: bytearray, random: np.random.Generator, words: Sequence[bytes]) -> None:
    """A stretch of random bytes."""
    place, length = _place(data, random), int(random.integers(1, 64))
    data[place : place + length] = random.bytes(length)


def cut(data: bytearray, random: np.random.Generator, words: Sequence[bytes]) -> None:
    """The end is missing."""
    del data[int(random.integers(len(data) // 2, len(data) + 1)) :]


def insert(data: bytearray, random: np.random.Generator, words: Sequence[bytes]) -> None:
    """Everything behind a place moves."""
    place = _place(data, random)
    data[place:place] = random.bytes(int(random.integers(1, 16)))


def insert_word(data: bytearray, random: np.random.Generator, words: Sequence[bytes]) -> None:
    """A word of the format, where it may not belong."""
    place, word = _place(data, random), words[random.integers(len(words))] if words else b"\0"
    replaced = len(word) * int(random.integers(2))
    data[place : place + replaced] = word


_OF_BINARY: tuple[Damage, ...] = (
    *(flip, flip, overwrite, overwrite, overwrite),
    *(copy, noise, cut, insert, insert_word),
)
_OF_TEXT: tuple[Damage, ...] = (*_OF_BINARY, insert_word, insert_word, insert_word, insert_word)


def damaged(
    seeds: Sequence[bytes], seed: int, number: int, words: Sequence[bytes] = ()
) -> bytearray:
    """Input ``number`` of a seed: a good one with one to three damages."""
    random = np.random.default_rng([seed, number])
    data = bytearray(seeds[number % len(seeds)])
    damages = _OF_TEXT if words else _OF_BINARY
    for _ in range(int(random.integers(1, 4))):
        damages[random.integers(len(damages))](data, random, words)
    return data
