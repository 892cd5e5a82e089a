"""How much is computed together; known without torch."""

_CPU_BLOCK_SAMPLES = 2**19
"""Samples of all frames of a block on a CPU: 2 MB, which stays in the second-level cache."""

_GPU_BLOCK_SAMPLES = 2**24
"""The same on a GPU: 64 MB, enough to fill it, and bounded."""

_COLUMNS = 8
"""Columns of a product that are computed together; a rest of fewer takes as long as 16 more."""

FEWEST_COLUMNS = 16
"""Of any product: libraries multiply fewer in another way, which is not faster."""


def cpu_block_frames(n_fft: int) -> int:
    """Frames that are computed together on a CPU; depends on the FFT length only."""
    return _full_columns(min(1024, _CPU_BLOCK_SAMPLES // n_fft))


def gpu_block_frames(n_fft: int) -> int:
    """The same on a GPU."""
    return _full_columns(_GPU_BLOCK_SAMPLES // n_fft)


def whole_columns(n_frames: int) -> int:
    """So many frames or a few more, which a product computes faster than a broken number."""
    return max(FEWEST_COLUMNS, -(-n_frames // _COLUMNS) * _COLUMNS)


def stretches(n: int, at_most: int) -> list[tuple[int, int]]:
    """First and end of stretches of so many at most, as even as can be."""
    n_parts = -(-n // at_most)
    return [(n * part // n_parts, n * (part + 1) // n_parts) for part in range(n_parts)]


def _full_columns(n_frames: int) -> int:
    """So many frames or a few less, for blocks that no other one follows within its columns."""
    return max(1, n_frames // _COLUMNS) * _COLUMNS
