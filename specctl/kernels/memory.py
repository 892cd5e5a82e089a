"""Memory that ran out, on whatever device."""

import torch

_WORDS = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
"""The last of cuFFT, cuBLAS and cuDNN, which take memory of their own."""


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whatever device."""
    if isinstance(problem, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(problem).lower()
    return isinstance(problem, RuntimeError) and any(words in text for words in _WORDS)
