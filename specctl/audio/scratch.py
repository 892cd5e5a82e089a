"""Memory for a moment: the system takes long to give it anew each time."""

import threading

SCRATCH_BYTES = 2**20


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.memory = memoryview(bytearray(SCRATCH_BYTES))


_scratch = _Scratch()


def scratch() -> memoryview:
    """`SCRATCH_BYTES` bytes of this thread, for a function that calls no other that takes them."""
    return _scratch.memory
