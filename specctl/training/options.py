"""How a training is run."""

from dataclasses import dataclass

from specctl.settings import check_fields

CACHE_BUDGET = 2**30


@dataclass(frozen=True, slots=True)
class Options:
    """How a job is run; nothing here changes what comes out of it.

    ``overwrite`` replaces the output and begins again; with ``resume`` too, what was stopped is
    gone on with, and the output replaced at the end.

    ``cache_budget`` and ``vram_budget`` are in bytes; the latter bounds the memory of a CUDA
    device that this process may take.
    """

    device: str = "auto"
    overwrite: bool = False
    resume: bool = False
    cache_budget: int = CACHE_BUDGET
    vram_budget: int | None = None

    def __post_init__(self) -> None:
        check_fields(self, device=str(self.device))
