"""Tiles to rows of the store by torch: alone on a CPU, packed together on a GPU."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from specctl.basis.ordinary import checked_basis
from specctl.config import SpectrogramConfig
from specctl.convert.compute import OutOfDeviceMemoryError
from specctl.convert.devices import reported_device
from specctl.convert.settings import ConvertConfig
from specctl.eager import eager
from specctl.kernels.memory import is_out_of_memory
from specctl.transforms import Transform

_SHORT = "not enough memory on the device"

_MOST_PACKED = 2**25
"""Samples of a pack that keep any GPU busy; it stands twice on the host, 128 MiB each time.

A power of two, to which torch rounds pinned memory up.
"""


class _Stretch(threading.local):
    """What the end of one tile leaves to the next one; conversions may share a computer."""

    before: Tensor | None = None


class TorchComputer:
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
        # a pack ends with what its last frame needs
        most = max(1, _MOST_PACKED - transform.config.n_fft)
        self.pack_samples = min(memory_budget // self._bytes_per_sample(), most)
        self._stretch = _Stretch()

    @eager
    def spectra(self, tiles: Sequence[np.ndarray]) -> list[Tensor]:
        """As `Computer.spectra`."""
        if self.device.type == "cpu":
            with _one_thread():
                return [self.transform.run(torch.from_numpy(tile)[None])[0] for tile in tiles]
        spectra = self._if_it_fits(tiles)
        if spectra is not None:
            return spectra
        torch.cuda.empty_cache()
        if len(tiles) == 1:
            raise OutOfDeviceMemoryError(_SHORT)
        # half as many from now on; the numbers do not depend on it
        self.pack_samples = max(1, self.pack_samples // 2)
        half = len(tiles) // 2
        return self.spectra(tiles[:half]) + self.spectra(tiles[half:])

    def peak(self, tile: np.ndarray) -> float:
        """As `Computer.peak`."""
        (spec,) = self.spectra([tile])
        return float(spec.max())

    @eager
    def rows(self, spec: Tensor, peak: float | None, is_first: bool = True) -> np.ndarray:
        """As `Computer.rows`."""
        try:
            return self._finished(spec, peak, is_first)
        except RuntimeError as error:
            if self.device.type == "cpu" or not is_out_of_memory(error):
                raise
        raise OutOfDeviceMemoryError(_SHORT)

    def _finished(self, spec: Tensor, peak: float | None, is_first: bool) -> np.ndarray:
        item = spec[None]
        with _one_thread():
            highest = self.transform.peak(item) if peak is None else item.new_full((1, 1, 1), peak)
            before = None if is_first else self._stretch.before
            finished, self._stretch.before = self.transform.finish_stretch(item, highest, before)
            finished = finished[0].T
            if finished.is_complex():
                finished = torch.view_as_real(finished)
            rows: np.ndarray = finished.contiguous().cpu().numpy()
        return rows

    def _if_it_fits(self, tiles: Sequence[np.ndarray]) -> list[Tensor] | None:
        """Spectra of tiles; ``None`` if memory ran out, with nothing of the attempt left in it."""
        found: dict[int, Tensor] = {}
        try:
            for places in self._alike(tiles):
                packed = self._packed([tiles[place] for place in places])
                found.update(zip(places, packed, strict=True))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            # not here: an exception holds on to the tensors of all that it went through
            return None
        return [found[place] for place in range(len(tiles))]

    def _alike(self, tiles: Sequence[np.ndarray]) -> list[list[int]]:
        """Places of the tiles that may share a pack.

        Products in two 16-bit limbs scale a pack by the power of two at its peak, so tiles that
        are louder by far, or damaged, would take bits from the others.
        """
        if self.transform.kernel_name == "fft":
            return [list(range(len(tiles)))]
        alike: dict[int, list[int]] = {}
        for place, tile in enumerate(tiles):
            _, exponent = np.frexp(max(tile.max(), -tile.min()))
            alike.setdefault(int(exponent), []).append(place)
        return list(alike.values())

    def _packed(self, tiles: Sequence[np.ndarray]) -> list[Tensor]:
        """One launch for all: tiles laid end to end on a common grid of hops.

        Each tile starts at a multiple of the hop, so every frame of it is a frame of the whole;
        frames that straddle two tiles are computed too and thrown away.
        """
        hop, n_fft = self.transform.config.hop_length, self.transform.config.n_fft
        starts, total = [], 0
        for tile in tiles:
            starts.append(total)
            total += -(-len(tile) // hop) * hop
        is_pinned = self.device.type == "cuda"
        pack = torch.zeros(total + n_fft, device="cpu", pin_memory=is_pinned)
        for start, tile in zip(starts, tiles, strict=True):
            pack[start : start + len(tile)] = torch.from_numpy(tile)
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


def torch_computer(
    config: ConvertConfig,
    device: str,
    kernel: str,
    basis: str | None,
    vram_budget: int | None,
    n_sharing: int,
) -> TorchComputer:
    """The transform of a config on its device, ``n_sharing`` of them on it in all.

    Raises
    ------
    KernelError
        If the device has no memory for it, or takes no other process.
    """
    where = torch.device(device)
    with reported_device(device, n_sharing):
        transform = torch_transform(config, device, kernel, basis)
        budget = _memory_budget(where, vram_budget) // n_sharing
    return TorchComputer(transform, where, budget)


def torch_transform(
    config: ConvertConfig, device: str, kernel: str, basis: str | None
) -> Transform:
    """The transform of a config, with the weights of its basis file where it has one."""
    init = (
        "fourier"
        if config.basis is None
        else checked_basis(basis, config.basis, config.spectrogram)
    )
    # built there: some kernels and precisions are refused anywhere else
    with torch.device(device):
        transform = Transform.from_config(
            config.spectrogram, kernel=kernel, precision=config.precision, init=init
        )
    return transform.requires_grad_(False)


def _memory_budget(device: torch.device, wanted: int | None) -> int:
    """Bytes of device memory for all workers: as asked for, else a quarter of what is free."""
    if device.type != "cuda":
        return 0
    if wanted is not None:
        return wanted
    free, _ = torch.cuda.mem_get_info(device)
    return int(free // 4)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch: there is a process for each core, and numbers must not differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
