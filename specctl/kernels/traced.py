"""Waveforms that are followed rather than computed.

Kernels read memory and compute in it block by block. For ``torch.export``, ``torch.jit.trace``,
`torch.func` and meta tensors, which have no memory to read, there is one plain form in operations
of torch alone; it holds all frames at once, as ``torch.stft`` does.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from specctl.config import PadMode, Precision
from specctl.dsp.padding import pad_waveform
from specctl.kernels.base import Chain
from specctl.kernels.blocks import raised_followed


def is_followed(*tensors: Tensor) -> bool:
    """Whether some of these are no memory to read but stand for what is computed later."""
    return _is_traced() or any(
        type(tensor) not in (Tensor, nn.Parameter)
        or tensor.is_meta
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        for tensor in tensors
    )


def run_followed(waveform: Tensor, padding: int, pad_mode: PadMode, chain: Chain) -> Tensor:
    """`specctl.kernels.base.Kernel.run_centred` in operations that can be followed.

    They can be differentiated any number of times. Whether products are computed in TF32 is for
    whoever runs the graph to say.
    """
    padded = pad_waveform(waveform, padding, padding, pad_mode)
    # contiguous, or the layout of frames would tie an exported graph to one length
    frames = padded.unfold(-1, chain.n_fft, chain.hop_length).contiguous()
    if chain.basis is None:
        spectrum = torch.fft.rfft(frames * chain.window)
        real, imaginary = spectrum.real, spectrum.imag
    else:
        parts = _product(frames, chain.basis, chain.precision)
        real, imaginary = parts[..., : chain.n_freqs], parts[..., chain.n_freqs :]
    if chain.power is None:
        return torch.complex(real, imaginary).transpose(-1, -2)
    spec = raised_followed(real.square() + imaginary.square(), chain.power / 2)
    if chain.bands is not None:
        spec = _product(spec, chain.bands.mel, chain.precision)
    spec = spec.transpose(-1, -2)
    return spec if chain.log is None else chain.log.apply(spec)


def _product(left: Tensor, right: Tensor, precision: Precision) -> Tensor:
    if precision == "bf16":
        return (left.bfloat16() @ right.bfloat16().T).to(left.dtype)
    return left @ right.T


def _is_traced() -> bool:
    is_tracing: Callable[[], bool] = torch.jit.is_tracing  # type: ignore[attr-defined]
    return is_tracing()
