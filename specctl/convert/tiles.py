"""Cutting a waveform of any length into tiles, so that memory does not grow with it.

A tile is a stretch of the padded waveform that gives a whole number of frames. Tiles overlap
by what a frame needs and their length is a multiple of the kernels' block, so the frames of all
tiles together are, bit for bit, those of the waveform in one piece.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from specctl.config import SpectrogramConfig
from specctl.dsp.padding import pad_waveform
from specctl.kernels.blocks import block_frames

_TILE_SAMPLES = 2**22
_TILE_VALUES = 2**23


def tile_frames(config: SpectrogramConfig) -> int:
    """Frames of a tile: a multiple of a block, bounded in samples and in values."""
    block = block_frames(config.n_fft, torch.device("cpu"))
    wanted = min(_TILE_SAMPLES // config.hop_length, _TILE_VALUES // max(config.n_freqs, 1))
    return max(1, wanted // block) * block


def tiles(
    blocks: Iterable[np.ndarray], config: SpectrogramConfig
) -> Iterator[tuple[Tensor, bool]]:
    """Padded stretches of one waveform, each with whether it is the last.

    Parameters
    ----------
    blocks : iterable of ndarray, each of shape (samples,), float32
        The waveform from its start to its end, in pieces of any length.

    Yields
    ------
    padded : Tensor, shape (samples,)
        Gives `tile_frames` frames; the last one as many as are left, a few more at most.
        Nothing is yielded for a waveform that is too short for one frame.
    is_last : bool
    """
    step = tile_frames(config) * config.hop_length
    length = step - config.hop_length + config.n_fft
    margin = config.padding + 1
    kept = np.empty(0, np.float32)
    padded_start = False
    for block in blocks:
        # always a copy: the block's memory is the decoder's
        kept = np.concatenate([kept, block])
        # enough must stay behind to reflect at the end and for one frame more
        while kept.size >= max(length, step + config.n_fft) + 2 * margin:
            if not padded_start:
                kept = _padded(kept, config, config.padding, 0)
                padded_start = True
            yield torch.from_numpy(kept[:length]), False
            kept = kept[step:]
    before = 0 if padded_start else config.padding
    if kept.size == 0:
        return
    rest = _padded(kept, config, before, config.padding)
    if rest.size >= config.n_fft:
        yield torch.from_numpy(rest), True


def _padded(kept: np.ndarray, config: SpectrogramConfig, before: int, after: int) -> np.ndarray:
    if not before and not after:
        return kept
    waveform = torch.from_numpy(np.ascontiguousarray(kept))
    return pad_waveform(waveform, before, after, config.pad_mode).numpy()
