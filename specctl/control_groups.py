"""Control groups that this process is in, as Docker, Kubernetes and systemd make them."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def control_groups(
    controller: str, groups: Path = CONTROL_GROUPS, own: Path = OWN_GROUPS
) -> Iterator[tuple[Path, bool]]:
    """Folders in which limits of this process may stand, each with whether it is of version 2.

    A group has no more than any that it lies in, so these are there, too; a folder may be missing.

    Parameters
    ----------
    controller : str
        What is limited: ``"cpu"``, ``"memory"``.
    groups, own : Path
        Where they are mounted, and where this process finds its own.
    """
    for line in group_text(own).splitlines():
        controllers, _, name = line.partition(":")[2].partition(":")
        if not controllers:
            mounts, is_second = (groups, groups / "unified"), True
        elif controller in controllers.split(","):
            mounts, is_second = (groups / controllers, groups / controller), False
        else:
            continue
        path = PurePosixPath(name.lstrip("/"))
        for mount in mounts:
            for group in (path, *path.parents):
                yield mount / group, is_second


def group_text(path: Path) -> str:
    """What stands in a file of a group, nothing where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
