"""Running a kernel over whole waveforms, as far as it needs no more than a frame at a time."""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from specctl.kernels.base import Chain, Kernel
from specctl.kernels.buffers import Buffers
from specctl.kernels.sizes import cpu_block_frames, gpu_block_frames, stretches

_KEPT_VALUES = {"cpu": 2**22, "gpu": 2**28}
"""Values of the spectra up to which they are kept for the backward pass; of more, none are.

With what torch keeps beside them that is up to 18 bytes for each: 75 MB, or 4.8 GB.
"""

_PIECE_VALUES = {"cpu": 2**19, "gpu": 2**25}
"""Of those that are computed again at a time."""

_BUFFERS = Buffers()


def block_frames(n_fft: int, device: torch.device) -> int:
    """Frames that are computed together; depends on the FFT length and kind of device only."""
    return cpu_block_frames(n_fft) if device.type == "cpu" else gpu_block_frames(n_fft)


class FrameKernel(Kernel):
    """A kernel that knows single frames; running it over a waveform is done here, in blocks."""

    @abstractmethod
    def spectrum(self, frames: Tensor, chain: Chain) -> Tensor:
        """Frames (..., n_fft) to complex spectra (..., n_freqs); differentiable."""

    @abstractmethod
    def power_spectrum(self, frames: Tensor, chain: Chain) -> Tensor:
        """Frames (..., n_fft) to squared magnitudes (..., n_freqs); differentiable."""

    @abstractmethod
    def power_block(self, frames: Tensor, chain: Chain, buffers: Buffers) -> Tensor:
        """`power_spectrum` of one block (items, n, n_fft) without gradients, in reused memory.

        (at least items * n, n_freqs): what follows those of the frames is of nothing.
        """

    def joins_items(self, like: Tensor, chain: Chain) -> bool:
        """Whether a block may hold several short items; ``like`` is one of them."""
        return False

    def run(self, padded: Tensor, chain: Chain) -> Tensor:
        """Block after block; larger blocks where gradients are taken."""
        if torch.is_grad_enabled() and (padded.requires_grad or chain.requires_grad):
            return _differentiable(self, padded, chain)
        return _blockwise(self, padded, chain)


def _differentiable(kernel: FrameKernel, padded: Tensor, chain: Chain) -> Tensor:
    """In one piece; where that is much, in several, computed again for the backward pass."""
    if not len(padded):
        # there is no FFT of nothing: one item of silence more, of which nothing is taken
        return _whole(kernel, torch.nn.functional.pad(padded, (0, 0, 0, 1)), chain)[:0]
    kind = "cpu" if padded.device.type == "cpu" else "gpu"
    n_frames = 1 + (padded.shape[1] - chain.n_fft) // chain.hop_length
    if len(padded) * n_frames * chain.n_freqs <= _KEPT_VALUES[kind]:
        return _whole(kernel, padded, chain)
    n_at_once = max(1, _PIECE_VALUES[kind] // chain.n_freqs)
    items = torch.split(padded, max(1, n_at_once // n_frames))
    return torch.cat([_in_pieces(kernel, each, chain, n_frames, n_at_once) for each in items])


def _in_pieces(
    kernel: FrameKernel, padded: Tensor, chain: Chain, n_frames: int, n_at_once: int
) -> Tensor:
    """At most so many frames of each item at once, of which only the samples are kept."""
    n_pieces = -(-n_frames // n_at_once)
    ends = [n_frames * (piece + 1) // n_pieces for piece in range(n_pieces)]
    # what is computed again is computed from what is there then
    unchanged = _Unchanged((padded, *chain.weights))
    pieces = [
        checkpoint(
            unchanged.whole,
            kernel,
            padded[:, first * chain.hop_length : (last - 1) * chain.hop_length + chain.n_fft],
            chain,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for first, last in zip([0, *ends[:-1]], ends, strict=True)
    ]
    return torch.cat(pieces, dim=-1)


class _Unchanged:
    """Sees to it that nothing is computed again from other numbers, as autograd does."""

    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        self._tensors = tensors
        self._versions = [_version(tensor) for tensor in tensors]

    def whole(self, kernel: FrameKernel, padded: Tensor, chain: Chain) -> Tensor:
        """`_whole`, or RuntimeError."""
        if self._versions != [_version(tensor) for tensor in self._tensors]:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an "
                "inplace operation: a waveform or a weight of the transform"
            )
        return _whole(kernel, padded, chain)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _whole(kernel: FrameKernel, padded: Tensor, chain: Chain) -> Tensor:
    frames = padded.unfold(-1, chain.n_fft, chain.hop_length)
    if chain.power is None:
        return kernel.spectrum(frames, chain).transpose(-1, -2)
    spec = raised(kernel.power_spectrum(frames, chain), chain.power / 2)
    if chain.bands is not None:
        spec = chain.bands.dense(spec, chain.precision)
    spec = spec.transpose(-1, -2)
    return chain.log.apply(spec) if chain.log is not None else spec


@torch.no_grad()
def _blockwise(kernel: FrameKernel, padded: Tensor, chain: Chain) -> Tensor:
    n_items, n_samples = padded.shape
    padded = padded.contiguous()
    n_frames = 1 + (n_samples - chain.n_fft) // chain.hop_length
    dtype = padded.dtype.to_complex() if chain.power is None else padded.dtype
    spec = torch.empty((n_items, chain.n_bins, n_frames), dtype=dtype, device=padded.device)
    frames = padded.unfold(-1, chain.n_fft, chain.hop_length)
    step = block_frames(chain.n_fft, padded.device)
    n_joined = min(n_items, step // n_frames)
    if n_joined > 1 and not kernel.joins_items(padded[0], chain):
        n_joined = 1
    for item, end in stretches(n_items, max(1, n_joined)):
        for first in range(0, n_frames, step):
            place = (slice(item, end), ..., slice(first, first + step))
            run_block(kernel, frames[item:end, first : first + step], chain, spec[place])
    return spec


def run_block(kernel: FrameKernel, frames: Tensor, chain: Chain, spec: Tensor) -> None:
    """One block (items, n, n_fft) into its place (items, n_bins, n)."""
    if chain.power is None:
        spec.copy_(kernel.spectrum(frames, chain).mT)
        return
    n_items, n_frames, _ = frames.shape
    values = finished(kernel.power_block(frames, chain, _BUFFERS), chain)
    spec.copy_(by_item(values[:, : n_items * n_frames], n_items))


def by_item(values: Tensor, n_items: int) -> Tensor:
    """Columns of items one after the other, (n_bins, items * n): (items, n_bins, n), a view."""
    return values.view(len(values), n_items, -1).transpose(0, 1)


def finished(power: Tensor, chain: Chain) -> Tensor:
    """What follows the squared magnitudes (n, n_freqs) of a block: (n_bins, n)."""
    values = raised(power, (chain.power or 1.0) / 2)
    values = chain.bands.block(values, chain.precision) if chain.bands is not None else values.T
    return scaled(values, chain)


def scaled(values: Tensor, chain: Chain) -> Tensor:
    """The logarithm of values (n_bins, n), in their place, where there is one."""
    if chain.log is None:
        return values
    values.clamp_min_(chain.log.amin).log10_().mul_(chain.log.factor)
    return values.sub_(chain.log.offset) if chain.log.offset else values


def raised(power: Tensor, exponent: float) -> Tensor:
    """``power ** exponent``, with gradient 0 instead of infinity or NaN where ``power`` is 0."""
    if exponent < 1.0 and not power.requires_grad:
        return power.sqrt() if exponent == 0.5 else power.pow(exponent)
    return raised_followed(power, exponent)


def raised_followed(power: Tensor, exponent: float) -> Tensor:
    """`raised` by the same operations whether or not gradients are taken, as a graph needs it."""
    if exponent >= 1.0:
        return power if exponent == 1.0 else power.pow(exponent)
    loud = power > 0
    safe = torch.where(loud, power, 1.0)
    root = safe.sqrt() if exponent == 0.5 else safe.pow(exponent)
    return torch.where(loud, root, 0.0)
