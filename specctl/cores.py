"""How many cores there are for this process; a container may have fewer than it sees."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores this process may use at a time, at least 1."""
    quota = core_quota()
    return n_cores() if quota is None else max(1, min(n_cores(), math.ceil(quota)))


def n_cores() -> int:
    """Cores this process may run on, whatever share of their time it has."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def core_quota(groups: Path = _CONTROL_GROUPS, own: Path = _OWN_GROUPS) -> float | None:
    """Cores' worth of time that the control groups of this process let it use.

    ``None`` where there is no limit. Those of Docker, Kubernetes and systemd are control groups,
    of version 1 or 2; a group has no more than any that it lies in.

    Parameters
    ----------
    groups, own : Path
        Where they are mounted, and where this process finds its own.
    """
    return min(_quotas(groups, own), default=None)


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    for line in _text(own).splitlines():
        controllers, _, name = line.partition(":")[2].partition(":")
        if not controllers:
            mounts, is_second = (groups, groups / "unified"), True
        elif "cpu" in controllers.split(","):
            mounts, is_second = (groups / controllers, groups / "cpu"), False
        else:
            continue
        path = PurePosixPath(name.lstrip("/"))
        for mount in mounts:
            for group in (mount / path, *(mount / parent for parent in path.parents)):
                quota, period = _limit(group, is_second=is_second)
                if quota.isdecimal() and period.isdecimal() and int(period):
                    yield int(quota) / int(period)


def _limit(group: Path, *, is_second: bool) -> tuple[str, str]:
    """Microseconds of a group in each period; no number where there is no limit."""
    if is_second:
        quota, _, period = _text(group / "cpu.max").partition(" ")
        return quota, period
    return _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
