"""How much is computed together; known without torch."""

_CPU_BLOCK_SAMPLES = 2**19
"""Samples of all frames of a block on a CPU: 2 MB, which stays in the second-level cache."""

_COLUMNS = 8
"""Columns of a product that are computed together; a rest of fewer takes as long as 16 more."""


def cpu_block_frames(n_fft: int) -> int:
    """Frames that are computed together on a CPU; depends on the FFT length only."""
    return max(1, min(1024, _CPU_BLOCK_SAMPLES // n_fft))


def whole_columns(n_frames: int) -> int:
    """So many frames or a few more, which a product computes faster than a broken number."""
    return -(-n_frames // _COLUMNS) * _COLUMNS
