"""What a contender is, and how one is made to train."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn

from specctl.bench.workload import Work, Workload
from specctl.config import SpectrogramConfig

Allocator = Literal["torch", "numpy", "unseen"]

_LEARNING_RATE = 1e-12
"""A step that costs what a step costs and leaves the basis where it is."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A contender ready to be called on batch after batch of one workload.

    Attributes
    ----------
    forward : callable
        Waveforms (batch, samples) to what the contender gives.
    values : callable
        What ``forward`` gave as a tensor (batch, freq, time); not timed.
    definition : SpectrogramConfig
        What it computes; the error is held against this.
    step : callable, optional
        Forward, backward and a step of the basis; timed in place of ``forward``.
    gradient : callable, optional
        The basis gradient that ``step`` left, (2 * n_freqs, n_fft).
    details : callable
        More about the calls so far, such as the time of each stage.
    """

    forward: Callable[[Tensor], Any]
    values: Callable[[Any], Tensor]
    definition: SpectrogramConfig
    step: Callable[[Tensor], object] | None = None
    gradient: Callable[[], Tensor] | None = None
    parameters: tuple[nn.Parameter, ...] = ()
    missing_frames: int = 0  # at the end, where a contender cuts to a length of its own
    details: Callable[[], Mapping[str, float]] = dict
    close: Callable[[], object] = field(default=lambda: None)

    @property
    def call(self) -> Callable[[Tensor], object]:
        """What is timed."""
        return self.step or self.forward


class Contender(ABC):
    """Somebody who computes spectrograms."""

    name: str
    precision: str = "fp32"
    modules: tuple[str, ...] = ()
    install: str = ""
    equalised: str = "settings are the defaults"
    """What was set so that it computes the same as the others, and what could not be."""

    works: tuple[Work, ...] = ("mel", "stft")
    devices: tuple[str, ...] = ("cpu", "cuda")
    allocator: Allocator = "torch"
    """Whose memory it takes: torch's, numpy's, or its own, which only the process shows."""

    is_optional: bool = False
    """Left out where it cannot run at all, instead of named."""

    is_on_request: bool = False
    """Takes part only when its name is given with its precision, as in ``specctl-conv:tf32``."""

    def missing(self) -> str | None:
        """Why it cannot be imported here, with the cure, or ``None``."""
        for name in self.modules:
            try:
                import_module(name)
            except ImportError as error:
                missing = getattr(error, "name", None) or name
                return f"{missing} is not installed; {self.install}"
            except OSError as error:
                return f"{name} does not load here: {str(error).splitlines()[0]}"
        return None

    def unsupported(self, workload: Workload) -> str | None:
        """Why it cannot do this, or ``None``."""
        if workload.work not in self.works:
            return _WHY_NOT[workload.work]
        if workload.device not in self.devices:
            return f"runs on {' and '.join(self.devices)} only"
        return None

    @abstractmethod
    def prepare(self, workload: Workload) -> Prepared:
        """Everything that is done once: filters, windows, plans, moving to the device."""


_WHY_NOT: dict[Work, str] = {
    "mel": "has no mel bands",
    "stft": "has mel bands only",
    "train": "has no basis to train",
    "convert": "is no converter; benchmarks/convert.py compares those",
}


def as_given(output: Tensor) -> Tensor:
    """Values that have the layout (batch, freq, time) already."""
    return output


def to_db(power: Tensor) -> Tensor:
    """Decibels against 1.0 with the floor that all have; differentiable."""
    return power.clamp(min=1e-10).log10().mul(10.0)


def training_step(
    forward: Callable[[Tensor], Tensor], parameters: Iterable[nn.Parameter]
) -> Callable[[Tensor], object]:
    """Forward, backward from the mean of the log-mel, a step of gradient descent.

    The mean takes no memory of its own, which would be counted as that of a contender.
    """
    trained = list(parameters)
    optimiser = torch.optim.SGD(trained, lr=_LEARNING_RATE)

    def step(waveform: Tensor) -> object:
        optimiser.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = forward(waveform).mean()
            loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss

    return step


def rows_of_gradient(real: nn.Parameter, imaginary: nn.Parameter, sign: float) -> Tensor:
    """Gradients of two ``conv1d`` weights (n_freqs, 1, n_fft) as that of one basis."""
    if real.grad is None or imaginary.grad is None:
        raise RuntimeError("its basis got no gradient")
    return torch.cat([real.grad[:, 0], sign * imaginary.grad[:, 0]])
