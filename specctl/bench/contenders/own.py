"""specctl's own kernels, through the transforms that users build."""

import torch

from specctl.bench.contenders.base import Contender, Prepared, as_given, training_step
from specctl.bench.workload import Workload
from specctl.config import Precision
from specctl.errors import KernelError
from specctl.kernels.registry import KERNELS
from specctl.transforms import Transform


class OwnKernel(Contender):
    """One kernel at one precision."""

    works = ("mel", "stft", "train")
    equalised = "settings are the defaults: zero padding, periodic Hann, Slaney bands and norm"

    def __init__(self, kernel: str, precision: Precision = "fp32") -> None:
        self.kernel = kernel
        self.name = f"specctl-{kernel}"
        self.precision = precision

    def unsupported(self, workload: Workload) -> str | None:
        """What the transform itself says when it is asked for this."""
        refused = super().unsupported(workload)
        if refused is not None:
            return refused
        try:
            self._transform(workload)
        except KernelError as error:
            return str(error).partition("; available")[0]
        return None

    def prepare(self, workload: Workload) -> Prepared:
        """The transform, on its device."""
        transform = self._transform(workload)
        if not workload.trains:
            return Prepared(transform, as_given, transform.config)
        parameters = tuple(transform.parameters())
        return Prepared(
            forward=transform,
            values=as_given,
            definition=transform.config,
            step=training_step(transform, parameters),
            gradient=lambda: _gradient(transform),
            parameters=parameters,
        )

    def _transform(self, workload: Workload) -> Transform:
        # built where it runs: a kernel of a GPU does not exist elsewhere
        with torch.device(workload.device):
            return Transform.from_config(
                workload.config(),
                kernel=self.kernel,
                precision=self.precision,  # type: ignore[arg-type]
                trainable=("basis",) if workload.trains else (),
            ).to(workload.device)


def own_kernels() -> list[OwnKernel]:
    """Every kernel that the registry knows, whatever it can do here."""
    return [OwnKernel(name) for name in KERNELS]


def _gradient(transform: Transform) -> torch.Tensor:
    if transform.basis is None or transform.basis.grad is None:
        raise RuntimeError("its basis got no gradient")
    return transform.basis.grad
