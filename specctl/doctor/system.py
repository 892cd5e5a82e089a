"""What the operating system says, where it says anything."""

import contextlib
import ctypes
import fcntl
import os
import re
import sys
import tempfile
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")


def has_nvidia_driver() -> bool:
    """Whether NVIDIA's driver is installed."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def file_system(folder: Path) -> str | None:
    """Type of the file system of a folder, such as ``ext4``; Linux only."""
    if sys.platform != "linux":
        return None
    real = os.path.realpath(folder)
    longest, kind = "", None
    with contextlib.suppress(OSError):
        for line in _MOUNTS.read_bytes().split(b"\n")[:-1]:
            _, escaped, name = os.fsdecode(line).split(" ")[:3]
            # blanks in a name stand there as octal codes
            point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), escaped)
            is_above = real == point or real.startswith(point.rstrip("/") + "/")
            if is_above and len(point) >= len(longest):
                longest, kind = point, name
    return kind


def write_problem(folder: Path) -> str | None:
    """Why a store could not be made in a folder: each step of making one is tried once."""
    step = "written to"
    try:
        with tempfile.TemporaryDirectory(prefix=".specctl-doctor-", dir=folder) as scratch:
            first, second = Path(scratch) / "a", Path(scratch) / "b"
            with first.open("wb") as file:
                step = "locked"
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                step = "written to"
                file.write(bytes(4096))
                file.flush()
                step = "synced"
                os.fsync(file.fileno())
            step = "renamed in"
            first.replace(second)
            step = "synced"
            handle = os.open(scratch, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        return f"cannot be {step}: {error.strerror}"
    return None
