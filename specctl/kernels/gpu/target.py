"""Where spectra go: what is done with a tile of them, and where it is stored."""

import math
from typing import Any

import torch
from torch import Tensor

from specctl.dsp.decibel import LogScale
from specctl.kernels.base import Chain
from specctl.kernels.gpu.banding import Layout, banding_for
from specctl.kernels.gpu.jit.values import band_sum_kernel
from specctl.kernels.gpu.pieces import Piece
from specctl.kernels.gpu.tiles import Tile, launch

_SUM_TILE = Tile(1, 512)
_SUMS_BYTES = 2**26


class Target:
    """The end of a chain as arguments for the kernels; one for each call of `run`.

    Parameters
    ----------
    padded : Tensor, shape (batch, samples)
        Only its batch and its device are read.
    n_times : int
        Frames of each item.
    """

    def __init__(self, padded: Tensor, chain: Chain, n_times: int, layout: Layout) -> None:
        self.chain = chain
        dtype = torch.complex64 if chain.power is None else torch.float32
        shape = (padded.shape[0], chain.n_bins, n_times)
        self.out = torch.empty(shape, dtype=dtype, device=padded.device)
        self.n_blocks = len(layout.blocks)
        self.banding = None if chain.bands is None else banding_for(chain.bands, layout)

    def capacity(self, most: int) -> int:
        """Frames whose sums fit the memory for them, at most ``most``."""
        if self.banding is None:
            return most
        rows = self.banding.n_blocks * self.banding.width
        return max(1, min(most, _SUMS_BYTES // (4 * rows)))

    def arguments(self, piece: Piece, sums: Tensor | None) -> dict[str, Any]:
        """What every kernel that ends in `emit` is given for one piece."""
        place = self._place(piece)
        banding = self.banding
        return {
            "out_ptr": place if sums is None else sums,
            "weights_ptr": None if banding is None else banding.weights,
            "widths_ptr": None if banding is None else banding.widths,
            "n_times": piece.n_times,
            "n_frames": piece.n_frames,
            "item_stride": place.stride(0),
            "bin_stride": place.stride(1),
            "exponent": (self.chain.power or 2.0) / 2,
            **log_arguments(self.chain.log),
            "BANDS": banding is not None,
            "RAISE": raise_name(self.chain.power),
            "LOG": self.chain.log is not None,
            "WIDTH": 1 if banding is None else banding.width,
            "BAND_STEP": 1 if banding is None else banding.step,
        }

    def sums(self, piece: Piece) -> Tensor | None:
        """Memory for the shares of the bands of one piece."""
        if self.banding is None:
            return None
        rows = self.banding.n_blocks * self.banding.width
        return torch.empty((rows, piece.n_frames), dtype=torch.float32, device=self.out.device)

    def finish(self, piece: Piece, sums: Tensor | None) -> None:
        """Add up the shares of the bands."""
        if self.banding is None or sums is None:
            return
        place = self._place(piece)
        launch(
            band_sum_kernel,
            (self.chain.n_bins, -(-piece.n_frames // _SUM_TILE.columns)),
            _SUM_TILE,
            sums_ptr=sums,
            out_ptr=place,
            rows_ptr=self.banding.rows,
            n_times=piece.n_times,
            n_frames=piece.n_frames,
            item_stride=place.stride(0),
            bin_stride=place.stride(1),
            **log_arguments(self.chain.log),
            LOG=self.chain.log is not None,
            PARTS=self.banding.parts,
            BLOCK_FRAMES=_SUM_TILE.columns,
        )

    def _place(self, piece: Piece) -> Tensor:
        place = self.out[piece.items, :, piece.times]
        return torch.view_as_real(place) if place.is_complex() else place


def raise_name(power: float | None) -> str:
    """What `raised` is told about an exponent of the magnitude."""
    return {2.0: "no", 1.0: "root", None: "no"}.get(power, "any")


def log_arguments(log: LogScale | None) -> dict[str, float]:
    """A logarithm's numbers, each rounded to float32 once."""
    if log is None:
        return {"amin": 0.0, "per_octave": 0.0, "offset": 0.0, "floor": 0.0}
    return {
        "amin": log.amin,
        "per_octave": log.factor * math.log10(2.0),
        "offset": log.offset,
        "floor": floor_of(log),
    }


def floor_of(log: LogScale) -> float:
    """What values at or below ``amin`` become."""
    return log.factor * math.log10(log.amin) - log.offset


def blocks_of(bins: slice, block_bins: int, n_freqs: int) -> Tensor:
    """Neighbouring bins in blocks, (n_blocks, block_bins); ``n_freqs`` where there is none."""
    index = torch.arange(bins.start, bins.stop)
    index = torch.nn.functional.pad(index, (0, -len(index) % block_bins), value=n_freqs)
    return index.reshape(-1, block_bins)
