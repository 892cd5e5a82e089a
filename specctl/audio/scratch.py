"""Memory for a moment: the system takes long to give it anew each time."""

import threading

import numpy as np

SCRATCH_BYTES = 2**20

_PAGE_BYTES = 4096
"""Memory begins with a page, as a file in the system's cache does.

Copies to eight or sixteen bytes behind where theirs begins, which is where large memory lies by
itself, take four times as long on AMD's Zen 3.
"""


class _Scratch(threading.local):
    def __init__(self) -> None:
        memory = np.zeros(SCRATCH_BYTES + _PAGE_BYTES, np.uint8)
        start = -memory.ctypes.data % _PAGE_BYTES
        self.memory = memory.data[start : start + SCRATCH_BYTES]


_scratch = _Scratch()


def scratch() -> memoryview:
    """`SCRATCH_BYTES` bytes of this thread, for a function that calls no other that takes them."""
    return _scratch.memory
