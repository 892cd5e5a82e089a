"""Tiles to rows of the store, on one device: alone on a CPU, packed together on a GPU."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from specctl.config import SpectrogramConfig
from specctl.dsp.decibel import peaks
from specctl.transforms import Transform


class Computer:
    """Runs one transform on one device within a memory budget.

    Parameters
    ----------
    transform : Transform
        Already on the device.
    device : torch.device
    memory_budget : int
        Bytes of device memory for a pack of tiles; read on a GPU only.
    """

    def __init__(self, transform: Transform, device: torch.device, memory_budget: int) -> None:
        self.transform = transform
        self.device = device
        self.pack_samples = memory_budget // self._bytes_per_sample() if memory_budget else 0

    def spectra(self, tiles: Sequence[Tensor]) -> list[Tensor]:
        """Everything that looks at single frames, of several tiles at once.

        Parameters
        ----------
        tiles : sequence of Tensor, each of shape (samples,)
            Padded waveforms of at least ``n_fft`` samples.

        Returns
        -------
        list of Tensor, each of shape (n_bins, n_frames), on the device
        """
        if self.device.type == "cpu":
            return [self.transform.run(tile[None])[0] for tile in tiles]
        try:
            return self._packed(tiles)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if len(tiles) == 1:
                raise
            # half as many from now on; the numbers do not depend on it
            self.pack_samples = max(1, self.pack_samples // 2)
            half = len(tiles) // 2
            return self.spectra(tiles[:half]) + self.spectra(tiles[half:])

    def peak(self, tile: Tensor) -> Tensor:
        """Peak of one tile before `Transform.finish`, (1, 1, 1), on the device."""
        (spec,) = self.spectra([tile])
        return peaks(spec[None])

    def rows(self, spec: Tensor, peak: Tensor | None) -> np.ndarray:
        """Finish a tile and bring it to the host.

        Parameters
        ----------
        spec : Tensor, shape (n_bins, n_frames)
        peak : Tensor or None
            Peak of the whole item, (1, 1, 1); ``None`` if the tile is the whole item.

        Returns
        -------
        ndarray, shape (n_frames, n_bins) or (n_frames, n_bins, 2), float32
        """
        item = spec[None]
        finished = self.transform.finish(item, self.transform.peak(item) if peak is None else peak)
        finished = finished[0].T
        if finished.is_complex():
            finished = torch.view_as_real(finished)
        rows: np.ndarray = finished.contiguous().cpu().numpy()
        return rows

    def _packed(self, tiles: Sequence[Tensor]) -> list[Tensor]:
        """One launch for all: tiles laid end to end on a common grid of hops.

        Each tile starts at a multiple of the hop, so every frame of it is a frame of the whole;
        frames that straddle two tiles are computed too and thrown away.
        """
        hop, n_fft = self.transform.config.hop_length, self.transform.config.n_fft
        starts, total = [], 0
        for tile in tiles:
            starts.append(total)
            total += -(-len(tile) // hop) * hop
        pack = torch.zeros(total + n_fft, pin_memory=self.device.type == "cuda")
        for start, tile in zip(starts, tiles, strict=True):
            pack[start : start + len(tile)] = tile
        spec = self.transform.run(pack.to(self.device, non_blocking=True)[None])[0]
        counts = [1 + (len(tile) - n_fft) // hop for tile in tiles]
        return [
            spec[:, start // hop : start // hop + count]
            for start, count in zip(starts, counts, strict=True)
        ]

    def _bytes_per_sample(self) -> int:
        """Device memory that one sample of a pack takes: itself and its share of the output."""
        config: SpectrogramConfig = self.transform.config
        value = 8 if config.is_complex else 4
        # the rows, their finished copy and the transposed one
        return 4 + -(-3 * value * config.n_bins // config.hop_length)
