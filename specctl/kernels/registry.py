"""Which kernels there are, and which one is used."""

from dataclasses import dataclass

from specctl.errors import KernelError
from specctl.kernels.base import Demand, Kernel
from specctl.kernels.conv import ConvKernel
from specctl.kernels.fft import FftKernel
from specctl.kernels.fold import FoldKernel

KERNELS: dict[str, Kernel] = {
    kernel.name: kernel for kernel in (FoldKernel(), FftKernel(), ConvKernel())
}
"""Name to kernel, the one preferred for a Fourier basis first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A kernel and why it was taken."""

    kernel: Kernel
    reason: str


def choose(name: str, demand: Demand) -> Choice:
    """The kernel of that name, or with ``"auto"`` the cheapest exact one.

    Raises
    ------
    KernelError
        If there is no such kernel or it cannot do what is asked; the message lists those
        that can.
    """
    if name != "auto" and name not in KERNELS:
        *first, last = KERNELS
        raise KernelError(f"kernel must be auto, {', '.join(first)} or {last}, got {name!r}")
    problems = {kernel.name: _problem(kernel, demand) for kernel in KERNELS.values()}
    able = [candidate for candidate, problem in problems.items() if problem is None]
    if name != "auto":
        if problems[name] is not None:
            others = f"; available here: {', '.join(able)}" if able else ""
            raise KernelError(f"kernel {name!r} {problems[name]}{others}")
        return Choice(KERNELS[name], "asked for")
    if not able:
        raise KernelError("; ".join(f"kernel {name!r} {why}" for name, why in problems.items()))
    return Choice(KERNELS[able[0]], _reason(able[0], problems))


def _problem(kernel: Kernel, demand: Demand) -> str | None:
    if demand.has_trained_basis and not kernel.takes_trained_basis:
        return "computes the Fourier basis only, this basis is trained"
    return kernel.problem(demand)


def _reason(name: str, problems: dict[str, str | None]) -> str:
    if name == "fold":
        return "frames are short, products on tensor cores cost less than an FFT's memory traffic"
    if name == "fft":
        return "the basis is the Fourier basis, an FFT gives the same numbers for less"
    return "; ".join(f"{other} {why}" for other, why in problems.items() if why is not None)
