"""What ``torchrun`` tells each of the processes that it starts."""

import os
from typing import NamedTuple

from specctl.errors import ParameterError


class Launch(NamedTuple):
    """Which process this is, of how many; alone by default.

    ``local_rank`` is its number on this machine, of ``n_here``, and so that of its GPU.
    """

    rank: int = 0
    n_ranks: int = 1
    local_rank: int = 0
    n_here: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that speaks and writes files."""
        return self.rank == 0

    @property
    def is_first_here(self) -> bool:
        """Whether this is the one that speaks of what is wrong on this machine."""
        return self.n_ranks == 1 or self.local_rank == 0


def read_launch() -> Launch:
    """From the environment; a rank counts only where there are several processes.

    Raises
    ------
    ParameterError
        If a variable is no number, or one that cannot be.
    """
    n_ranks = _number("WORLD_SIZE", 1, least=1)
    local_rank = _number("LOCAL_RANK", 0)
    if n_ranks == 1:
        return Launch(local_rank=local_rank)
    rank = _number("RANK", 0)
    if rank >= n_ranks:
        raise ParameterError(
            f"RANK must be less than WORLD_SIZE={n_ranks}, got {rank}; torchrun sets both"
        )
    return Launch(rank, n_ranks, local_rank, _number("LOCAL_WORLD_SIZE", local_rank + 1, least=1))


def _number(name: str, default: int, *, least: int = 0) -> int:
    text = os.environ.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ParameterError(
            f"{name} must be a whole number of at least {least}, got {text!r}; "
            "torchrun sets it, unset it to train in one process"
        )
    return int(text)
