"""Which mel bands a block of bins touches, with their weights packed block by block."""

from collections import OrderedDict
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from specctl.kernels.bands import Bands

_MIN_STEP = 16
"""Fewest columns that tensor cores are given."""

_MOST_KEPT = 16


class Banding(NamedTuple):
    """A filterbank in the form of one layout of blocks; integers are int32."""

    weights: Tensor  # (n_blocks, width, block_bins), 0 where a band has no weight
    lowest: Tensor  # (n_blocks,) first band of each block
    widths: Tensor  # (n_blocks,) bands of each block, at most width
    rows: Tensor  # (n_mels, parts) where the shares of each band stand, -1 where there is none
    step: int  # bands that are multiplied at once; divides width

    @property
    def n_blocks(self) -> int:
        """Blocks of bins."""
        return self.weights.shape[0]

    @property
    def width(self) -> int:
        """Rows that each block may fill."""
        return self.weights.shape[1]

    @property
    def parts(self) -> int:
        """Most blocks that any band reaches."""
        return self.rows.shape[1]


class Layout(NamedTuple):
    """The bins of each block of a kernel; layouts of the same names and numbers are the same."""

    name: str
    blocks: Tensor  # (n_blocks, block_bins), n_freqs where there is none; on the CPU
    most_bands: int  # that are multiplied at once


class _Tables(NamedTuple):
    """All of a banding but its weights, and where these stand in a filterbank."""

    bands_at: Tensor  # (n_blocks, width, 1), n_mels where there is none
    bins_at: Tensor  # (n_blocks, 1, block_bins), n_freqs where there is none
    lowest: Tensor
    widths: Tensor
    rows: Tensor
    step: int


_KEPT: WeakKeyDictionary[Bands, dict[tuple[str, int, int], Banding]] = WeakKeyDictionary()
_OF_ALL: OrderedDict[object, _Tables] = OrderedDict()
_USED: WeakKeyDictionary[Bands, slice] = WeakKeyDictionary()


def used_bins(bands: Bands | None, n_freqs: int) -> slice:
    """Bins that reach any band; all while the bands are trained, and without bands."""
    if bands is None or bands.mel.requires_grad:
        return slice(0, n_freqs)
    if bands not in _USED:
        used = bands.fixed.ne(0).any(dim=0).nonzero().flatten().tolist()
        _USED[bands] = slice(used[0], used[-1] + 1) if used else slice(0, 1)
    return _USED[bands]


def banding_for(bands: Bands, layout: Layout) -> Banding:
    """The banding of a filterbank, kept while the bands are not trained."""
    if bands.mel.requires_grad:
        mel = bands.mel.detach()
        return _banding(mel, _tables_of_all(mel, layout))
    kept = _KEPT.setdefault(bands, {})
    key = (layout.name, layout.blocks.shape[1], layout.most_bands)
    if key not in kept:
        tables = _tables(bands.fixed.ne(0).cpu(), layout, bands.fixed.device)
        kept[key] = _banding(bands.fixed, tables)
        _settle(bands.fixed.device)
    return kept[key]


def _banding(mel: Tensor, tables: _Tables) -> Banding:
    padded = torch.nn.functional.pad(mel, (0, 1, 0, 1))
    weights = padded[tables.bands_at, tables.bins_at].contiguous()
    return Banding(weights, tables.lowest, tables.widths, tables.rows, tables.step)


def _tables_of_all(mel: Tensor, layout: Layout) -> _Tables:
    """Tables in which every weight counts, kept: they are the same whatever the weights become."""
    key = (mel.shape, mel.device, layout.name, layout.blocks.shape[1], layout.most_bands)
    tables = _OF_ALL.pop(key, None)
    if tables is None:
        is_used = torch.ones(mel.shape, dtype=torch.bool)
        tables = _tables(is_used, layout, mel.device)
        _settle(mel.device)
    _OF_ALL[key] = tables
    while len(_OF_ALL) > _MOST_KEPT:
        _OF_ALL.popitem(last=False)
    return tables


def _settle(device: torch.device) -> None:
    """Wait for tables that later calls may read on other streams."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def _tables(is_used: Tensor, layout: Layout, device: torch.device) -> _Tables:
    """``is_used`` (n_mels, n_freqs) on the CPU says which weights count."""
    n_mels, blocks = is_used.shape[0], layout.blocks
    columns = torch.nn.functional.pad(is_used, (0, 1))
    touched = torch.stack([columns[:, bins].any(dim=1) for bins in blocks])
    lowest, widths = _extents(touched)
    widest = max(1, int(widths.max()))
    step = min(layout.most_bands, max(_MIN_STEP, 1 << (widest - 1).bit_length()))
    width = -(-widest // step) * step
    bands = lowest[:, None] + torch.arange(width)
    is_band = torch.arange(width) < widths[:, None]
    bands_at = bands.masked_fill(~is_band, n_mels)[:, :, None].to(device)
    rows = _rows_of(bands, is_band, n_mels)
    lowest, widths, rows = (table.to(device, torch.int32) for table in (lowest, widths, rows))
    return _Tables(bands_at, blocks[:, None, :].to(device), lowest, widths, rows, step)


def _extents(flags: Tensor) -> tuple[Tensor, Tensor]:
    """First true column of each row, and columns from there to the last; 0 and 0 for none."""
    n = flags.shape[1]
    index = torch.arange(n)
    first = torch.where(flags, index, n).amin(dim=1)
    last = torch.where(flags, index, -1).amax(dim=1)
    is_any = last >= 0
    return torch.where(is_any, first, 0), torch.where(is_any, last - first + 1, 0)


def _rows_of(bands: Tensor, is_band: Tensor, n_mels: int) -> Tensor:
    """Rows of ``bands`` (n_blocks, width), counted one block after another, by band."""
    rows = is_band.flatten().nonzero().flatten()
    owners = bands.flatten()[rows]
    counts = torch.bincount(owners, minlength=n_mels)
    order = torch.argsort(owners, stable=True)
    starts = counts.cumsum(0) - counts
    column = torch.arange(len(rows)) - starts[owners[order]]
    table = torch.full((n_mels, max(1, int(counts.max()))), -1, dtype=torch.int64)
    table[owners[order], column] = rows[order]
    return table
