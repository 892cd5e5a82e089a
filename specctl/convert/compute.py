"""What computes the rows of the store from tiles, on one device."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class OutOfDeviceMemoryError(MemoryError):
    """A device has too little memory even for one tile."""


class Computer(Protocol):
    """Runs one transform on one device within a memory budget.

    ``pack_samples`` is how many samples of tiles, each in whole hops, may be computed together,
    0 where that gains nothing.
    """

    pack_samples: int

    def spectra(self, tiles: Sequence[np.ndarray]) -> list[Any]:
        """Everything that looks at single frames, of several tiles at once.

        Parameters
        ----------
        tiles : sequence of ndarray, each of shape (samples,), float32
            Padded waveforms of at least ``n_fft`` samples.

        Returns
        -------
        list
            For each tile what `rows` takes; on the device.

        Raises
        ------
        OutOfDeviceMemoryError
        """

    def peak(self, tile: np.ndarray) -> float:
        """Largest value of one tile before it is referred to any peak."""

    def rows(self, spec: Any, peak: float | None, is_first: bool = True) -> np.ndarray:
        """Finish a tile and bring it to the host.

        Parameters
        ----------
        spec
            One of the results of `spectra`.
        peak : float, optional
            Peak of the whole item; ``None`` if the tile is the whole item.
        is_first : bool
            Whether an item begins here, or goes on from the tile before.

        Returns
        -------
        ndarray, shape (n_frames, n_bins) or (n_frames, n_bins, 2), float32

        Raises
        ------
        OutOfDeviceMemoryError
            If the device has no memory left for it.
        """
