"""Several processes that train one model together, as ``torchrun`` starts them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from specctl.errors import OtherProcessError, ParameterError, SpecctlError, Stopped, TrainingError
from specctl.launch import read_launch

_FAILED = "specctl/failed"


@dataclass(frozen=True, slots=True)
class Processes:
    """How many there are and which of them this is; alone by default."""

    rank: int = 0
    n_ranks: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place where there are several."""
        if self.n_ranks > 1:
            with _reported_loss():
                dist.all_reduce(values)
        return values

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it is so in any process; all of them must ask."""
        if self.n_ranks == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=device)) > 0)

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Add the gradients up over all processes, in one message."""
        if self.n_ranks == 1 or not parameters:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        self.sum(flat)
        first = 0
        for gradient in gradients:
            gradient.copy_(flat[first : first + gradient.numel()].view_as(gradient))
            first += gradient.numel()

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.n_ranks > 1:
            with _reported_loss():
                dist.barrier()

    def is_first_to_fail(self) -> bool:
        """Whether no other process has failed before; each asks once, about itself."""
        if self.n_ranks == 1:
            return True
        try:
            return bool(dist.distributed_c10d._get_default_store().add(_FAILED, 1) == 1)
        except RuntimeError:
            # the process that keeps count has ended, so it was first
            return False


@contextmanager
def _reported_loss() -> Iterator[None]:
    """The other side of a broken connection, as an error of ours."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            "another process of this training has ended; start all of them again with --resume"
        ) from error


def local_device(name: str) -> torch.device:
    """The device of this process for ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises
    ------
    ParameterError
        If there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ParameterError(f"device must be auto, cpu or cuda, got {name!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise ParameterError(f"device must be auto, cpu or cuda, got {name!r}")
    if device.type == "cuda":
        index = device.index if device.index is not None else read_launch().local_rank
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise ParameterError(
                f"device must be one of this machine's, got {name!r} with "
                f"{torch.cuda.device_count()} CUDA devices"
            )
        device = torch.device("cuda", index)
    return device


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started; on its own, a process is alone.

    ``device`` is a name that `local_device` takes. A group of processes that the caller has set
    up is used as it is.

    Raises
    ------
    ParameterError
        If there are more of them on this machine than it has GPUs.
    TrainingError
        If they cannot be reached.
    OtherProcessError
        In the place of any error but the first of all processes.
    """
    if dist.is_available() and dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size())
        return
    launch = read_launch()
    if launch.n_ranks == 1:
        yield Processes()
        return
    is_cuda = device != "cpu" and torch.cuda.is_available()
    if is_cuda:
        # before any of them waits for one that cannot come
        n_devices = torch.cuda.device_count()
        if launch.n_here > n_devices:
            raise ParameterError(
                f"processes must be at most {n_devices} here, one for each CUDA device, "
                f"got {launch.n_here}; --device cpu takes any number"
            )
        torch.cuda.set_device(launch.local_rank)
    try:
        dist.init_process_group("nccl" if is_cuda else "gloo")
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"cannot join the other processes: {reason}") from error
    processes = Processes(dist.get_rank(), dist.get_world_size())
    try:
        yield processes
    except Stopped:
        raise
    except SpecctlError as error:
        if processes.is_first_to_fail():
            raise
        raise OtherProcessError("another process of this training failed first") from error
    finally:
        dist.destroy_process_group()
