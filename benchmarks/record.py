"""What stands in the record of a benchmark: the machine, the versions, the date, doubts."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from specctl.cores import usable_cores
from specctl.main_memory import usable_memory

PACKAGES = (
    "specctl-audio",
    "torch",
    "numpy",
    "librosa",
    "soundfile",
    "h5py",
    "joblib",
    "nnAudio",
    "lhotse",
)
# a run this much slower than another of the same case was disturbed
STEADY_SPREAD = 1.25


def machine() -> dict[str, Any]:
    """Processor, usable cores, usable memory and system."""
    memory = usable_memory()
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_gb": None if memory is None else round(memory / 2**30, 1),
        "system": platform.platform(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str | None]:
    """Version of each package that takes part; None where it is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def now() -> str:
    """Date and time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def spread(values: list[float]) -> dict[str, float] | None:
    """Median, least and greatest; None for none."""
    if not values:
        return None
    return {"median": median(values), "min": min(values), "max": max(values)}


def doubts(record: dict[str, Any]) -> list[str]:
    """Why the figures may not be trusted, each with its cure."""
    found = []
    load, cores = record["machine"]["load_at_start"], record["machine"]["cores"]
    if load > 0.3 * cores:
        found.append(
            f"load was {load} on {cores} cores at the start; run again when nothing else runs"
        )
    for row in record["summary"]:
        wall = row["wall_s"]
        if wall and wall["max"] > STEADY_SPREAD * wall["min"]:
            found.append(
                f"{row['contender']} on {row['format']} took {wall['min']:.1f} to "
                f"{wall['max']:.1f} s; run again when nothing else runs, or with more --minutes"
            )
    return found


def write(path: Path, record: dict[str, Any]) -> None:
    """Write the record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    temporary.replace(path)
