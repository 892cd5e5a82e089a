"""What a training costs: memory at its peak and time per step."""

import contextlib
import re
import statistics
from collections.abc import Iterator

import torch

from specctl.errors import TrainingError
from specctl.kernels.memory import is_out_of_memory
from specctl.main_memory import begin_peak, resident_bytes
from specctl.words import size

_WARM_UP = 3  # steps that are not counted


class PeakMemory:
    """Device memory at its peak since this was made; on a CPU all that the process held.

    On a CPU only Linux tells. What an earlier training has freed is given back first, where the C
    library can, so that one after another are measured alike.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            self._is_told = begin_peak()

    def megabytes(self) -> float | None:
        """In units of 10**6 bytes; None where nothing tells."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        peak = resident_bytes(at_peak=True) if self._is_told else None
        return None if peak is None else peak / 1e6


@contextlib.contextmanager
def reported_memory() -> Iterator[None]:
    """Memory that runs out, and smaller batches do not help, as an error of ours."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        wanted = re.search(r"allocate (\d+) bytes", str(error))
        more = f", {size(int(wanted[1]))} more were wanted" if wanted else ""
        raise TrainingError(
            f"memory is too small for this training{more}; "
            "give a shorter crop, a smaller n_fft or a smaller model"
        ) from error


def median_ms(seconds: list[float]) -> float | None:
    """Median time of a step in ms, without the first few; None for too few."""
    counted = seconds[_WARM_UP:]
    return 1000 * statistics.median(counted) if counted else None
