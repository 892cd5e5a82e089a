"""Tiles to rows of the store by the compiled transform, without torch."""

import math
import threading
from collections.abc import Sequence

import numpy as np

from specctl.config import SpectrogramConfig
from specctl.dsp.decibel import LogScale
from specctl.dsp.mel import dct_weights, mel_weights
from specctl.dsp.windows import taper
from specctl.kernels.native.program import Logarithm
from specctl.kernels.native.spectrogram import NativeSpectrogram


class _Rows(threading.local):
    """Memory for the rows of one tile after another; the system takes long to give it anew."""

    def __init__(self) -> None:
        self.memory = np.empty(0, np.float32)


class NativeComputer:
    """One tile at a time on one core, each frame where the store wants it."""

    pack_samples = 0

    def __init__(self, config: SpectrogramConfig) -> None:
        self._scale = scale = LogScale.from_config(config)
        self._rows = _Rows()
        self._dct = dct_weights(config) if config.n_mfcc is not None else None
        self._spectrogram = NativeSpectrogram(
            taper(config),
            config.hop_length,
            power=config.power,
            mel=mel_weights(config) if config.n_mels is not None else None,
            log=None if scale is None else Logarithm(scale.factor, scale.amin, scale.offset),
            layout="frames",
        )

    def spectra(self, tiles: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Rows that are not finished yet; of a single tile they last until the next call."""
        if len(tiles) > 1:
            return [self._spectrogram(tile) for tile in tiles]
        return [self._spectrogram(tile, self._rows_for(tile)) for tile in tiles]

    def _rows_for(self, tile: np.ndarray) -> np.ndarray:
        shape = self._spectrogram.shape(len(tile))
        size = math.prod(shape)
        if size > self._rows.memory.size:
            self._rows.memory = np.empty(size, np.float32)
        return self._rows.memory[:size].reshape(shape)

    def peak(self, tile: np.ndarray) -> float:
        """As `Computer.peak`."""
        return float(self._spectrogram(tile).max())

    def rows(self, spec: np.ndarray, peak: float | None, is_first: bool = True) -> np.ndarray:
        """Refer to the peak, clip, take cepstral coefficients; in place as far as possible."""
        if self._scale is not None and self._scale.needs_peak:
            self._scale.finish_in_place(spec, np.float32(spec.max() if peak is None else peak))
        if self._dct is None:
            return spec
        # not a matrix product, whose last bits depend on how many frames it is given
        return np.asarray(np.einsum("fm,cm->fc", spec, self._dct))
