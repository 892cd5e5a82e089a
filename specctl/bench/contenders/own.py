"""specctl's own kernels, through the transforms that users build."""

from typing import get_args

import torch

from specctl.bench.contenders.base import Contender, Prepared, as_given, training_step
from specctl.bench.workload import Workload
from specctl.config import Precision, SpectrogramConfig
from specctl.errors import KernelError
from specctl.kernels.base import Demand
from specctl.kernels.registry import KERNELS
from specctl.transforms import Transform

_TYPICAL = (256, 2048)
"""FFT lengths: a kernel that takes neither has something against the device."""


class OwnKernel(Contender):
    """One kernel at one precision."""

    works = ("mel", "stft", "train")
    equalised = "settings are the defaults: zero padding, periodic Hann, Slaney bands and norm"

    is_optional = True

    def __init__(self, kernel: str, device: str, precision: Precision = "fp32") -> None:
        self.kernel = kernel
        self.device = torch.device(device)
        self.name = f"specctl-{kernel}"
        self.precision = precision
        self.is_on_request = precision != "fp32"

    def missing(self) -> str | None:
        """Why the kernel cannot run on this device, whatever the settings."""
        reasons = [self._problem(n_fft) for n_fft in _TYPICAL]
        return None if None in reasons else f"kernel {self.kernel!r} {reasons[0]}"

    def _problem(self, n_fft: int) -> str | None:
        config = SpectrogramConfig.resolve(n_fft=n_fft)
        return KERNELS[self.kernel].problem(
            Demand(config, self.device, self.precision)  # type: ignore[arg-type]
        )

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


def own_kernels(device: str) -> list[OwnKernel]:
    """Every kernel that the registry knows at every precision, whatever it can do here."""
    return [
        OwnKernel(name, device, precision) for precision in get_args(Precision) for name in KERNELS
    ]


def _gradient(transform: Transform) -> torch.Tensor:
    if transform.basis is None or transform.basis.grad is None:
        raise RuntimeError("its basis got no gradient")
    return transform.basis.grad
