"""What a training costs: memory at its peak and time per step."""

import statistics
from pathlib import Path

import torch

_WARM_UP = 3  # steps that are not counted
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Device memory at its peak since this was made; on a CPU that of the process.

    On a CPU what the process held at the start is taken off, and only Linux tells.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._at_start: int | None = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            _CLEAR.write_text("5")  # the peak starts again from here
            self._at_start = _kilobytes("VmRSS")
        except OSError:
            self._at_start = None

    def megabytes(self) -> float | None:
        """In units of 10**6 bytes; None where nothing tells."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        if self._at_start is None:
            return None
        return max(0, _kilobytes("VmHWM") - self._at_start) * 1024 / 1e6


def median_ms(seconds: list[float]) -> float | None:
    """Median time of a step in ms, without the first few; None for too few."""
    counted = seconds[_WARM_UP:]
    return 1000 * statistics.median(counted) if counted else None


def _kilobytes(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise OSError(f"{_STATUS} has no {name}")
