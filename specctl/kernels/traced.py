"""Waveforms that are followed rather than computed.

Kernels read memory and compute in it block by block. For ``torch.export``, ``torch.jit.trace``,
`torch.func` and meta tensors, which have no memory to read, and for derivatives forward or of
derivatives, there is one plain form in operations of torch alone; it holds all frames at once, as
``torch.stft`` does.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from specctl.config import PadMode, Precision
from specctl.dsp.padding import pad_waveform
from specctl.kernels.base import Chain
from specctl.kernels.blocks import raised_followed

_BATCHED = torch._C._dispatch_key_parse("Batched")
"""Of the gradients that ``torch.autograd.grad`` takes with ``is_grads_batched``."""


def is_followed(*tensors: Tensor) -> bool:
    """Whether some of these are no memory to read but stand for what is computed later."""
    # first: what follows cannot be traced by the compiler
    return torch.compiler.is_compiling() or _is_traced() or any(map(_is_more, tensors))


def is_followed_again(gradient: Tensor) -> bool:
    """Whether a backward pass is to be differentiated, or is one of many at once."""
    is_batched = torch._C._dispatch_keys(gradient).has(_BATCHED)
    return torch.is_grad_enabled() or is_batched or is_followed(gradient)


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


def followed_gradients(
    gradient: Tensor,
    waveform: Tensor,
    padding: int,
    pad_mode: PadMode,
    chain: Chain,
    wanted: Iterable[Tensor | None],
) -> list[Tensor | None]:
    """Gradients by `run_followed` in those inputs that are wanted, ``None`` in place of others.

    They can be differentiated where the caller is to be differentiated.
    """
    is_taken_again = torch.is_grad_enabled()
    wanted = list(wanted)
    with torch.enable_grad():
        spec = run_followed(waveform, padding, pad_mode, chain)
    found = iter(
        torch.autograd.grad(
            spec,
            [tensor for tensor in wanted if tensor is not None],
            gradient,
            create_graph=is_taken_again,
            # a window has no effect of its own where a basis holds it
            allow_unused=True,
        )
    )
    return [None if tensor is None else next(found) for tensor in wanted]


def _is_more(tensor: Tensor) -> bool:
    """Whether a tensor is more than memory, or less."""
    return (
        type(tensor) not in (Tensor, nn.Parameter)
        or tensor.is_meta
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        or _is_dual(tensor)
    )


def _is_dual(tensor: Tensor) -> bool:
    """Whether a tensor carries its derivative along."""
    if forward_ad._current_level < 0:
        return False
    tangent: Tensor | None = forward_ad.unpack_dual(tensor).tangent  # type: ignore[no-untyped-call]
    return tangent is not None


def _product(left: Tensor, right: Tensor, precision: Precision) -> Tensor:
    if precision == "bf16":
        return (left.bfloat16() @ right.bfloat16().T).to(left.dtype)
    return left @ right.T


def _is_traced() -> bool:
    is_tracing: Callable[[], bool] = torch.jit.is_tracing  # type: ignore[attr-defined]
    return is_tracing()
