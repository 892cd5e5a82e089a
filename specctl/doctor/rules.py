"""What is known to go wrong, and the cure; pure functions of a `Machine`."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from specctl.doctor.facts import PACKAGES, Machine
from specctl.words import counted, size

_GIB = 1 << 30
_MIB = 1 << 20
_NETWORKS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ceph"})
_LEAST_PYTHON = "3.11"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is known to go wrong here.

    Parameters
    ----------
    level : "problem" or "note"
        A problem breaks a promise of specctl or stops it; a note is good to know.
    about : str
        What it is about, in a word.
    message, cure : str
        What goes wrong; what to do.
    """

    level: Literal["problem", "note"]
    about: str
    message: str
    cure: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def findings(machine: Machine) -> list[Finding]:
    """Everything known to be wrong with a machine, problems first."""
    found = [finding for rule in _RULES for finding in rule(machine)]
    return sorted(found, key=lambda finding: finding.level != "problem")


def _older(found: str | None, least: str) -> bool:
    """Whether a version that is there is older than another; unreadable ones are not."""
    return found is not None and bool(_numbers(found)) and _numbers(found) < _numbers(least)


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers a version starts with; 2.2 and 2.2.0 are the same."""
    start = re.match(r"\d+(\.\d+)*", text)
    numbers = list(map(int, start[0].split("."))) if start else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _packages(machine: Machine) -> Iterator[Finding]:
    if _older(machine.python, _LEAST_PYTHON):
        message = f"Python {machine.python} is too old"
        yield Finding("problem", "python", message, f"use Python {_LEAST_PYTHON} or newer")
    for name in PACKAGES:
        if machine.packages.get(name) is None and name not in machine.broken:
            yield Finding("problem", name, f"{name} is not installed", f"pip install {name}")
    for name, reason in machine.broken.items():
        cure = f"pip install --force-reinstall {name}"
        yield Finding("problem", name, f"{name} cannot be used: {reason}", cure)
    if machine.code_problem is not None:
        why, _, cure = machine.code_problem.partition("; ")
        yield Finding("problem", "llvmlite", why, cure)
    for name, least in PACKAGES.items():
        found = machine.packages.get(name)
        if _older(found, least):
            more = "; it also runs code from files it loads (CVE-2025-32434)" * (name == "torch")
            message = f"{name} {found} is older than {least}{more}"
            yield Finding("problem", name, message, f"pip install '{name}>={least}'")


def _hdf5(machine: Machine) -> Iterator[Finding]:
    if _older(machine.hdf5, "2.0.0"):
        message = f"HDF5 {machine.hdf5} has 19 known flaws that a forged file can use"
        cure = "upgrade h5py to a wheel with HDF5 2.0 or newer; open strangers' stores with none"
        yield Finding("problem", "hdf5", message, cure)
    elif _older(machine.hdf5, "2.2.0"):
        message = f"HDF5 {machine.hdf5} has flaws that a forged file can use, mended in 2.2"
        cure = "open strangers' stores with specctl only; upgrade h5py when it brings HDF5 2.2"
        yield Finding("note", "hdf5", message, cure)


def _switches(machine: Machine) -> Iterator[Finding]:
    switches = machine.switches
    if not machine.is_locking:
        message = "HDF5 locks no files: a program may overwrite a store that another one reads"
        yield Finding("problem", "locking", message, "unset HDF5_USE_FILE_LOCKING")
    if machine.takes_plugins:
        preload = switches["HDF5_PLUGIN_PRELOAD"]
        message = f"HDF5_PLUGIN_PRELOAD={preload} lets a store load plug-ins, which run code"
        yield Finding("problem", "plug-ins", message, "unset HDF5_PLUGIN_PRELOAD")
    elif "HDF5_PLUGIN_PATH" in switches:
        message = "HDF5_PLUGIN_PATH is set: other programs run code that a store asks for"
        cure = "unset HDF5_PLUGIN_PATH before strangers' stores are opened without specctl"
        yield Finding("note", "plug-ins", message, cure)
    if switches.get("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE") == "1":
        message = "torch rounds products on GPUs to TF32, 10 bits"
        yield Finding("note", "torch", message, "unset TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")


def _audio(machine: Machine) -> Iterator[Finding]:
    found = machine.libsndfile
    if _older(found, "1.1.0"):
        message = f"libsndfile {found} reads no MP3 and can be overrun (CVE-2021-3246)"
        yield Finding("problem", "libsndfile", message, "pip install --upgrade soundfile")
    elif _older(found, "1.2.2"):
        message = f"libsndfile {found} is not the version that was tested, 1.2.2"
        yield Finding("note", "libsndfile", message, "pip install --upgrade soundfile")
    if machine.packages.get("av") is None and "av" not in machine.broken:
        message = "m4a, aac, mp4, webm and wma cannot be read"
        yield Finding("note", "av", message, "pip install av")


def _gpu(machine: Machine) -> Iterator[Finding]:
    if machine.gpu_problem is not None:
        message = f"specctl's own kernels cannot run on {machine.gpus[0]}: {machine.gpu_problem}"
        cure = "torch computes in their place, with more memory"
        if "C compiler" in machine.gpu_problem:
            cure += "; on Debian and Ubuntu: apt install gcc python3-dev"
        yield Finding("note", "kernels", message, cure)
    if not machine.has_nvidia_driver or machine.gpus or machine.packages.get("torch") is None:
        return
    if machine.cuda is None:
        message = "there is a GPU driver, but this torch is built for CPUs only"
        yield Finding("note", "cuda", message, "install torch with CUDA from pytorch.org")
    elif machine.switches.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        message = "GPUs are hidden by CUDA_VISIBLE_DEVICES"
        yield Finding("note", "cuda", message, "unset CUDA_VISIBLE_DEVICES")
    else:
        message = f"there is a GPU driver, but torch (CUDA {machine.cuda}) finds no GPU"
        cure = "see nvidia-smi; a driver must be as new as the CUDA of torch"
        yield Finding("problem", "cuda", message, cure)


def _room(machine: Machine) -> Iterator[Finding]:
    if machine.write_problem is not None:
        message = f"{machine.folder} {machine.write_problem}"
        yield Finding("problem", "folder", message, "write stores to another folder")
    if machine.file_system in _NETWORKS:
        message = f"{machine.folder} is on {machine.file_system}: locks and syncs are the server's"
        cure = "write to a local disk and copy the finished store"
        yield Finding("note", "folder", message, cure)
    if machine.free_bytes is not None and machine.free_bytes < _GIB:
        message = f"{machine.folder} has {size(machine.free_bytes)} free"
        cure = "parts and store need room together; see specctl convert --dry-run"
        yield Finding("note", "disk", message, cure)
    n_cores = math.ceil(min(machine.cores, machine.core_quota or math.inf))
    if machine.memory_bytes is not None and machine.memory_bytes < n_cores * _GIB // 2:
        n_workers = max(1, 2 * machine.memory_bytes // _GIB)
        message = f"{size(machine.memory_bytes)} of memory for {counted(n_cores, 'worker')}"
        yield Finding("note", "memory", message, f"convert with --workers {n_workers}")
    if machine.open_files < 64:
        message = f"a process may open {machine.open_files} files at most"
        yield Finding("problem", "open files", message, "ulimit -n 1024")


def _container(machine: Machine) -> Iterator[Finding]:
    if machine.system.startswith("Linux") and machine.shm_bytes is None:
        message = "there is no /dev/shm, which processes need for their locks"
        yield Finding("problem", "/dev/shm", message, "mount a tmpfs there, or use --workers 0")
    elif machine.shm_bytes is not None and machine.shm_bytes < 256 * _MIB:
        message = f"/dev/shm has {size(machine.shm_bytes)}: loaders of torch may crash"
        yield Finding("note", "/dev/shm", message, "docker run --shm-size=2g")
    quota = machine.core_quota
    if quota is not None and quota < machine.cores:
        message = f"{machine.cores} cores are seen, the container may use {quota:g} of them"
        cure = f"for torch: OMP_NUM_THREADS={math.ceil(quota)}; convert keeps to it"
        yield Finding("note", "cores", message, cure)


_RULES: tuple[Callable[[Machine], Iterator[Finding]], ...] = (
    *(_packages, _hdf5, _switches, _audio, _gpu, _room, _container),
)
