"""Versions, switches and room: what specctl on this machine depends on."""

import importlib
import os
import platform
import resource
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from specctl.cores import core_quota, n_cores
from specctl.doctor.system import (
    file_system,
    has_nvidia_driver,
    write_problem,
)
from specctl.errors import KernelError
from specctl.main_memory import usable_memory
from specctl.version import __version__

PACKAGES = {
    "numpy": "1.26",
    "torch": "2.6",
    "h5py": "3.12",
    "soundfile": "0.13",
    "soxr": "0.5",
    "llvmlite": "0.45",
    "isal": "1.7",
    "pydantic": "2.7",
    "safetensors": "0.4.3",
    "scipy": "1.12",
    "librosa": "0.11",
    "typer": "0.26",
    "rich": "13.8",
}
"""What specctl is installed with, each with the oldest version that will do."""

OPTIONAL = ("av", "triton", "matplotlib")

_SWITCHES = (
    *("HDF5_USE_FILE_LOCKING", "HDF5_PLUGIN_PATH", "HDF5_PLUGIN_PRELOAD"),
    *("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that `specctl.doctor.rules` look at.

    ``None`` stands for what is not there, or cannot be told on this system.

    Parameters
    ----------
    packages : dict
        Name to version.
    broken : dict
        Packages that are installed but cannot be imported: name to reason.
    hdf5, libsndfile, llvm : str or None
        Versions of the libraries that are really loaded.
    cuda : str or None
        Version that torch was built with.
    gpus : tuple of str
        Devices that torch can use.
    gpu_problem : str or None
        Why specctl's own kernels cannot run on the first of them.
    code_problem : str or None
        Why code that is compiled here cannot be executed.
    cpu, lanes : str, int
        Processor as LLVM calls it; float32 numbers it computes at a time.
    cores : int
        Cores that this process may use.
    core_quota : float or None
        Cores' worth of time that a container may use.
    memory_bytes : int or None
        Memory of the machine, or of the container where that is less.
    folder : str
        Where stores are to be written; the fields after it are about this folder.
    write_problem : str or None
        Why files cannot be locked, synced and renamed there.
    """

    specctl: str
    python: str
    system: str
    packages: dict[str, str | None]
    broken: dict[str, str]
    hdf5: str | None
    libsndfile: str | None
    llvm: str | None
    cuda: str | None
    has_nvidia_driver: bool
    gpus: tuple[str, ...]
    gpu_problem: str | None
    code_problem: str | None
    cpu: str | None
    lanes: int | None
    cores: int
    core_quota: float | None
    memory_bytes: int | None
    open_files: int
    shm_bytes: int | None
    switches: dict[str, str]
    folder: str
    file_system: str | None
    free_bytes: int | None
    write_problem: str | None

    @property
    def is_locking(self) -> bool:
        """Whether HDF5 locks the files it opens."""
        return self.switches.get("HDF5_USE_FILE_LOCKING", "").upper() not in ("FALSE", "0")

    @property
    def takes_plugins(self) -> bool:
        """Whether a store can have HDF5 load code; specctl forbids it where nothing is set."""
        return self.switches.get("HDF5_PLUGIN_PRELOAD", "::") != "::"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def examine(folder: Path) -> Machine:
    """Look at this machine; imports torch, so it takes seconds.

    Parameters
    ----------
    folder : Path
        Where stores are to be written. A file of a few bytes is written there and removed.
    """
    # before h5py is imported, which has the store set one of them
    switches = {name: os.environ[name] for name in _SWITCHES if name in os.environ}
    broken: dict[str, str] = {}
    modules = {name: _imported(name, broken) for name in (*PACKAGES, *OPTIONAL)}
    return Machine(
        **_loaded(modules, broken),
        specctl=__version__,
        python=platform.python_version(),
        system=platform.platform(),
        packages={name: _version(name) for name in modules},
        broken=broken,
        has_nvidia_driver=has_nvidia_driver(),
        cores=n_cores(),
        core_quota=core_quota(),
        memory_bytes=usable_memory(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        shm_bytes=_or_none(lambda: shutil.disk_usage("/dev/shm").total),
        switches=switches,
        folder=str(folder),
        file_system=file_system(folder),
        free_bytes=_or_none(lambda: shutil.disk_usage(folder).free),
        write_problem=write_problem(folder),
    )


def _loaded(modules: dict[str, Any], broken: dict[str, str]) -> dict[str, Any]:
    """What the packages say of the libraries in them and of the processors they found."""
    torch, h5py, soundfile = modules["torch"], modules["h5py"], modules["soundfile"]
    gpus = _or_none(lambda: _gpus(torch)) or ()
    code_problem = cpu = lanes = None
    if modules["llvmlite"] is not None:
        code_problem, cpu, lanes = _processor(broken)
    return {
        "hdf5": _or_none(lambda: str(h5py.version.hdf5_version)),
        "libsndfile": _or_none(lambda: str(soundfile.__libsndfile_version__)),
        "llvm": _or_none(_llvm_version) if modules["llvmlite"] is not None else None,
        "cuda": _or_none(lambda: torch.version.cuda),
        "gpus": gpus,
        "gpu_problem": _or_none(lambda: _gpu_problem(torch)) if gpus else None,
        "code_problem": code_problem,
        "cpu": cpu,
        "lanes": lanes,
    }


def _imported(name: str, broken: dict[str, str]) -> Any:
    """A package, or ``None``; one that is there and does not work goes into ``broken``."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a broken installation raises is what is to be told
        if _version(name) is not None or not isinstance(error, ImportError):
            broken[name] = f"{type(error).__name__}: {error}".splitlines()[0]
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _or_none(look: Callable[[], Any]) -> Any:
    """What ``look`` finds, ``None`` where a package or a folder is missing."""
    try:
        return look()
    except (AttributeError, OSError, RuntimeError):
        return None


def _gpus(torch: Any) -> tuple[str, ...]:
    n_devices = torch.cuda.device_count()
    return tuple(torch.cuda.get_device_name(index) for index in range(n_devices))


def _gpu_problem(torch: Any) -> str | None:
    from specctl.kernels import gpu

    return gpu.problem(torch.device("cuda"))


def _llvm_version() -> str:
    import llvmlite.binding as llvm

    return ".".join(map(str, llvm.llvm_version_info))


def _processor(broken: dict[str, str]) -> tuple[str | None, str | None, int | None]:
    """Why compiled code cannot be executed, else the processor that it is compiled for."""
    from specctl.compiler import host

    try:
        found = host()
    except KernelError as error:
        return str(error), None, None
    except Exception as error:  # LLVM raises RuntimeError and others for what it does not know
        broken["llvmlite"] = f"{type(error).__name__}: {error}".splitlines()[0]
        return None, None, None
    return None, found.name, found.lanes
