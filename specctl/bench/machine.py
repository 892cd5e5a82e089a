"""The machine, the versions and the switches that a result depends on."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from specctl.cores import usable_cores
from specctl.errors import ParameterError
from specctl.main_memory import usable_memory

PACKAGES = (
    *("specctl-audio", "torch", "numpy", "scipy", "numba", "triton", "librosa", "nnAudio"),
    *("nnaudio2", "torchlibrosa", "torchaudio", "auvux-dsp", "flashmel", "lhotse"),
)
_DEFAULT_CACHE = 32 * 2**20


def resolve_device(name: str) -> str:
    """``"auto"`` as what there is, anything else if it is there.

    Raises
    ------
    ParameterError
        For another name, or a CUDA device that is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ParameterError(f"device must be auto, cpu or cuda, got {name!r}")
    if name == "cpu":
        return name
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(name.partition(":")[2] or 0) >= n_devices:
        here = ", ".join(["cpu", *(f"cuda:{index}" for index in range(n_devices))])
        raise ParameterError(f"device {name!r} is not here; this machine has {here}")
    return name


def describe_machine(device: str) -> dict[str, Any]:
    """Processor, usable cores and memory, system, load and, where it is used, the GPU."""
    found: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_bytes": usable_memory(),
        "cache_bytes": cache_bytes("cpu"),
        "system": platform.platform(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "gpu": None,
    }
    if device != "cpu":
        properties = torch.cuda.get_device_properties(device)
        found["gpu"] = {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "capability": f"{properties.major}.{properties.minor}",
            "driver": _driver(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return found


def describe_versions() -> dict[str, str | None]:
    """Version of each package that takes part; ``None`` where it is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def describe_flags() -> dict[str, Any]:
    """What torch was left with; contenders that set one of these say so."""
    return {
        "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def cache_bytes(device: str) -> int:
    """Size of the last cache before memory."""
    if device != "cpu":
        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    for index in (3, 2):
        file = Path(f"/sys/devices/system/cpu/cpu0/cache/index{index}/size")
        if file.exists():
            digits = file.read_text().strip().removesuffix("K")
            return int(digits) * 1024 if digits.isdigit() else _DEFAULT_CACHE
    return _DEFAULT_CACHE


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _driver() -> str | None:
    file = Path("/proc/driver/nvidia/version")
    if not file.exists():
        return None
    found = re.search(r"\d+\.\d+(\.\d+)?", file.read_text())
    return found.group() if found else None
