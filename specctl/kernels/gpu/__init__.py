"""Kernels for CUDA devices, in Triton: the only place that imports it, and only when needed.

Importing this module costs nothing; `run_fft`, `run_fold` and `run_dense` import Triton when
they are first called. All three take padded waveforms and a chain, work through them in pieces
of bounded size (`pieces`), and differ in how a piece becomes spectra:

- ``fft``: `frame_kernel`, cuFFT, `spectrum_kernel`;
- ``fold``: `folding_kernel`, then products a quarter as deep as the basis;
- ``dense``: products of frames with any basis, straight from the waveform, and their gradients.

What follows a spectrum is the same for all: exponent, shares of the mel bands, their sum in a
fixed order, logarithm (`jit.values`).
"""

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from specctl.kernels.base import Chain

MIN_CAPABILITY = (8, 0)
"""Oldest devices: fp16 products with float32 sums, TF32, asynchronous copies."""


def problem(device: torch.device) -> str | None:
    """Why these kernels cannot run on a device, or ``None`` if they can."""
    if device.type != "cuda":
        return f"needs a CUDA device and triton, this device is {device.type}"
    if not _has_triton():
        return "needs triton, which is not installed; try: pip install triton"
    if not torch.cuda.is_available() or torch.version.cuda is None:
        return "needs a CUDA device and triton, this torch has no CUDA device"
    capability = torch.cuda.get_device_capability(device)
    if capability < MIN_CAPABILITY:
        have, need = (".".join(map(str, version)) for version in (capability, MIN_CAPABILITY))
        return f"needs a CUDA device of compute capability {need} or newer, this one has {have}"
    return _launcher_problem()


def can_take(padded: Tensor) -> bool:
    """Whether `run_fft` and the others may be called with these waveforms."""
    return (
        padded.is_cuda
        and padded.dtype == torch.float32
        and padded.shape[0] > 0
        and problem(padded.device) is None
    )


def run_fft(padded: Tensor, chain: Chain) -> Tensor:
    """``chain`` over padded waveforms by FFTs: (batch, samples) to (batch, n_bins, n_frames)."""
    from specctl.kernels.gpu.fft import compute
    from specctl.kernels.gpu.replayed import run

    return run(compute, padded, chain)


def run_fold(padded: Tensor, chain: Chain) -> Tensor:
    """The same by folded products; ``n_fft`` a multiple of 4."""
    from specctl.kernels.gpu.fold import compute
    from specctl.kernels.gpu.replayed import run

    return run(compute, padded, chain)


def run_dense(padded: Tensor, chain: Chain) -> Tensor:
    """The same by products with ``chain.basis``, any rows of ``n_fft``."""
    from specctl.kernels.gpu.dense import compute
    from specctl.kernels.gpu.replayed import run
    from specctl.kernels.gpu.training import run_trained

    if chain.power is None:
        return run(compute, padded, chain)
    return run_trained(padded, chain)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def _launcher_problem() -> str | None:
    """Why Triton can start nothing here: it compiles its launcher when it is first used."""
    from triton.runtime import driver

    try:
        _ = driver.active.utils
    except Exception as error:  # of any kind: torch computes without it
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"needs a C compiler and Python's headers for triton: {first}"
    return None
