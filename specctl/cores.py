"""How many cores there are for this process; a container may have fewer than it sees."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from specctl.control_groups import CONTROL_GROUPS, OWN_GROUPS, control_groups, group_text


def usable_cores() -> int:
    """Cores this process may use at a time, at least 1."""
    quota = core_quota()
    return n_cores() if quota is None else max(1, min(n_cores(), math.ceil(quota)))


def n_cores() -> int:
    """Cores this process may run on, whatever share of their time it has."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def core_quota(groups: Path = CONTROL_GROUPS, own: Path = OWN_GROUPS) -> float | None:
    """Cores' worth of time that the control groups of this process let it use.

    ``None`` where there is no limit.

    Parameters
    ----------
    groups, own : Path
        As those of `control_groups`.
    """
    return min(_quotas(groups, own), default=None)


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    for group, is_second in control_groups("cpu", groups, own):
        quota, period = _limit(group, is_second=is_second)
        if quota.isdecimal() and period.isdecimal() and int(period):
            yield int(quota) / int(period)


def _limit(group: Path, *, is_second: bool) -> tuple[str, str]:
    """Microseconds of a group in each period; no number where there is no limit."""
    if is_second:
        quota, _, period = group_text(group / "cpu.max").partition(" ")
        return quota, period
    return group_text(group / "cpu.cfs_quota_us"), group_text(group / "cpu.cfs_period_us")
