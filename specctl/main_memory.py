"""How much memory there is for this process; a container may have less than the machine."""

import os
from collections.abc import Iterator
from pathlib import Path

from specctl.control_groups import CONTROL_GROUPS, OWN_GROUPS, control_groups, group_text


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
