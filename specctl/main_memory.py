"""How much memory there is for this process, and how much of it is held.

A container may have less than the machine; what is held only Linux tells.
"""

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path

from specctl.control_groups import CONTROL_GROUPS, OWN_GROUPS, control_groups, group_text

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def usable_memory() -> int | None:
    """Bytes that this process may use, ``None`` where the system does not tell."""
    return min((each for each in (_installed(), memory_limit()) if each is not None), default=None)


def memory_limit(groups: Path = CONTROL_GROUPS, own: Path = OWN_GROUPS) -> int | None:
    """Bytes that the control groups of this process let it use, ``None`` without a limit.

    Parameters
    ----------
    groups, own : Path
        As those of `control_groups`. Where none is set, version 1 has one beyond any machine.
    """
    return min(_limits(groups, own), default=None)


def resident_bytes(*, at_peak: bool = False) -> int | None:
    """Bytes of memory that this process holds, or has held at most; ``None`` if nobody tells."""
    wanted = "VmHWM" if at_peak else "VmRSS"
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == wanted:
                return int(value.split()[0]) * 1024
    return None


def begin_peak() -> bool:
    """Have the peak of `resident_bytes` begin now, without what is freed; False if it cannot."""
    give_back()
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def give_back() -> None:
    """Let the system have what the allocator holds and nobody uses, where the C library can."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _limits(groups: Path, own: Path) -> Iterator[int]:
    for group, is_second in control_groups("memory", groups, own):
        limit = group_text(group / ("memory.max" if is_second else "memory.limit_in_bytes"))
        if limit.isdecimal():
            yield int(limit)


def _installed() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
