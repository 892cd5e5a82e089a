"""Which devices a run uses, and whether it can do without torch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from specctl.convert.early import is_cpu
from specctl.convert.settings import ConvertConfig
from specctl.errors import KernelError, ParameterError
from specctl.kernels.native.plan import problem as native_problem
from specctl.words import counted

_WORKER_BYTES = 2**30
"""Of a GPU for each worker, besides packs: what CUDA takes for a process, and room to compute."""

_BUSY = "busy or unavailable"
"""What CUDA says where another process has a GPU to itself."""


def named_devices(device: str) -> tuple[str, ...]:
    """Every device that a ``--device`` names.

    Raises
    ------
    ParameterError
        For one that is not there.
    """
    n_cuda = 0 if is_cpu(device) else _n_cuda_devices()
    if device == "auto":
        device = "cuda" if n_cuda else "cpu"
    names: list[str] = []
    for name in device.split(","):
        kind, _, number = name.strip().partition(":")
        if kind == "cpu" and not number:
            names.append("cpu")
        elif kind == "cuda" and not number and n_cuda:
            names += [f"cuda:{index}" for index in range(n_cuda)]
        elif kind == "cuda" and number.isdecimal() and int(number) < n_cuda:
            names.append(f"cuda:{int(number)}")
        else:
            here = ["cpu", *(f"cuda:{index}" for index in range(n_cuda))]
            raise ParameterError(
                f"device {name.strip()!r} is not on this machine; here: {', '.join(here)}"
            )
    if len({name.partition(":")[0] for name in names}) > 1:
        raise ParameterError(f"device must be of one kind, cpu or cuda, got {device!r}")
    return tuple(dict.fromkeys(names))


def most_workers(devices: Sequence[str]) -> int | None:
    """Workers for which GPUs have room while packs take a quarter; ``None`` on a CPU."""
    if "cpu" in devices:
        return None
    import torch

    with reported_device(", ".join(devices)):
        free = min(torch.cuda.mem_get_info(torch.device(device))[0] for device in devices)
    return len(devices) * max(1, (free - free // 4) // _WORKER_BYTES)


@contextmanager
def reported_device(device: str, n_workers: int = 1) -> Iterator[None]:
    """A GPU that has no room for a process, or takes no other, as an error of ours."""
    try:
        yield
    except RuntimeError as error:
        from specctl.kernels.memory import is_out_of_memory

        if is_out_of_memory(error):
            problem = f"has not enough memory for {counted(n_workers, 'worker')}"
        elif _BUSY in str(error):
            problem = "is busy, or takes one process at a time"
        else:
            raise
        cure = "give fewer with --workers, or another --device"
        raise KernelError(f"{device} {problem}; {cure}") from error


def is_compiled(config: ConvertConfig, device: str, kernel: str) -> bool:
    """Whether a config is computed by the compiled transform, which does not need torch."""
    return (
        device == "cpu"
        and config.basis is None
        and config.scale != "pcen"
        and kernel in ("auto", "fft")
        and config.precision == "fp32"
        and config.power in (None, 1.0, 2.0)
        and native_problem(config.n_fft) is None
    )


def _n_cuda_devices() -> int:
    import torch

    return torch.cuda.device_count()
