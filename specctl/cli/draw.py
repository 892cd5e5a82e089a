"""A spectrogram drawn in the terminal, or as a PNG."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.color import Color
from rich.style import Style
from rich.text import Text

from specctl.cli.streams import hush_matplotlib
from specctl.durable import check_place, real_place, reported_os_errors, write_atomically
from specctl.errors import ParameterError, StoreError
from specctl.presence import exists, is_regular_file

if TYPE_CHECKING:
    import numpy as np

    from specctl.store.reader import Store

# dark to bright, told apart in black and white too
_GRADIENT = (
    (0, 0, 4),
    (59, 15, 112),
    (140, 41, 129),
    (222, 73, 104),
    (254, 159, 109),
    (252, 253, 191),
)
_RAMP = " .:-=+*#%@"
_LABEL_WIDTH = 8
MAX_PNG_COLUMNS = 4000
_DYNAMIC_RANGE_DB = 80.0


@dataclass(frozen=True)
class Picture:
    """What is drawn of one item.

    Parameters
    ----------
    levels : ndarray, shape (n_bins, columns)
        Low frequencies first; NaN where there is nothing.
    time_unit, frequency_unit : str
        Of ``duration`` and ``frequency``.
    frequency : ndarray, shape (n_bins,)
    """

    levels: np.ndarray
    duration: float
    time_unit: str
    frequency: np.ndarray
    frequency_unit: str
    title: str
    level_name: str


def picture(store: Store, key: str, columns: int) -> Picture:
    """Reduce an item to at most so many columns, each the mean of its frames.

    However long the item, only some of its frames are in memory at once.
    """
    import numpy as np

    n_frames = store.record(key).n_frames
    columns = max(min(columns, n_frames), 1)
    edges = [n_frames * i // columns for i in range(columns + 1)]
    levels = np.full((len(store.frequency), columns), np.nan)
    for i, (first, stop) in enumerate(pairwise(edges)):
        if stop > first:
            levels[:, i] = _mean_frame(store, key, first, stop)
    units = str(store.attributes["units"])
    if units in ("", "1") and np.nanmin(levels, initial=0.0) >= 0:
        # linear values look black but for a few points
        factor = 10 if store.config.get("feature") in ("power", "mel") else 20
        peak = max(float(np.nanmax(levels, initial=0.0)), 1e-30)
        units = "dB below its peak"
        levels = factor * np.log10(np.maximum(levels / peak, 10 ** (-_DYNAMIC_RANGE_DB / factor)))
    seconds = _frame_seconds(store.config)
    has_bands = store.config.get("feature") != "mfcc"
    return Picture(
        levels=levels,
        duration=n_frames * (seconds or 1.0),
        time_unit="s" if seconds else "frames",
        frequency=store.frequency if has_bands else np.arange(len(store.frequency)),
        frequency_unit="Hz" if has_bands else "",
        title=key,
        level_name=units,
    )


def text_lines(shown: Picture, width: int, height: int, *, colour: bool) -> list[Text]:
    """The picture as lines of a terminal, with its axes.

    Parameters
    ----------
    width, height : int
        Characters there is room for.
    colour : bool
        Two pixels per character in colours; else one in a ramp of plain characters.
    """
    columns = max(width - _LABEL_WIDTH - 1, 1)
    rows = max(height - 2, 1)
    rows = min(rows, shown.levels.shape[0] if not colour else -(-shown.levels.shape[0] // 2))
    pixels = _pixels(shown, columns, rows * 2 if colour else rows)
    lines = []
    for row in range(rows):
        line = Text(_frequency_label(shown, row, rows).rjust(_LABEL_WIDTH) + " ", no_wrap=True)
        if colour:
            for top, bottom in zip(pixels[2 * row], pixels[2 * row + 1], strict=True):
                line.append("▀", Style(color=_colour(top), bgcolor=_colour(bottom)))
        else:
            last = len(_RAMP) - 1
            line.append("".join(_RAMP[round(last * level)] for level in pixels[row]).rstrip())
        lines.append(line)
    return [*lines, Text(_time_axis(shown, columns), no_wrap=True)]


def write_png(shown: Picture, path: Path) -> None:
    """Write a whole PNG with matplotlib; nothing is overwritten but an empty file."""
    check_place(path)
    with reported_os_errors(path):
        if exists(path) and not (is_regular_file(path) and path.stat().st_size == 0):
            raise StoreError(f"{path} already exists; give --png another name")
    hush_matplotlib()
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ParameterError(
            "--png needs matplotlib; pip install 'specctl-audio[plot]'"
        ) from error
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    n_bins = len(shown.frequency)
    image = axes.imshow(
        shown.levels,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        extent=(0, shown.duration, -0.5, n_bins - 0.5),
    )
    ticks = sorted({(n_bins - 1) * i // 6 for i in range(7)})
    axes.set_yticks(ticks, [f"{shown.frequency[i]:.0f}" for i in ticks])
    axes.set_xlabel(shown.time_unit)
    axes.set_ylabel(shown.frequency_unit)
    # a name is no formula
    axes.set_title(printable(shown.title), parse_math=False)
    figure.colorbar(image, label=shown.level_name)
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        # that a font lacks a character of the name
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(drawn, format="png", dpi=150)
    write_atomically(real_place(path), drawn.getvalue())


def printable(text: str) -> str:
    """Text with control characters and undecodable bytes escaped: one line, whatever it holds."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _frame_seconds(config: dict[str, Any]) -> float | None:
    """Seconds from frame to frame; None where a store's settings do not tell."""
    hop, rate = config.get("hop_length"), config.get("sample_rate")
    if isinstance(hop, int) and isinstance(rate, int) and min(hop, rate) > 0:
        return hop / rate
    return None


def _mean_frame(store: Store, key: str, first: int, stop: int) -> np.ndarray:
    """Mean over some frames of an item, magnitudes of complex values, shape (n_bins,)."""
    import numpy as np

    step = 4096
    total = np.zeros(len(store.frequency))
    for start in range(first, stop, step):
        frames = store.read(key, start, min(start + step, stop))
        total += (abs(frames) if np.iscomplexobj(frames) else frames).sum(axis=1, dtype=np.float64)
    return total / (stop - first)


def _pixels(shown: Picture, columns: int, rows: int) -> list[list[float]]:
    """Levels from 0 to 1, high frequencies first."""
    import numpy as np

    levels = shown.levels
    n_bins, n_columns = levels.shape
    finite = levels[np.isfinite(levels)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    scaled = np.nan_to_num((levels - low) / ((high - low) or 1.0), nan=0.0)
    # the mean of the bins of a pixel, the nearest bin where there are fewer bins than pixels
    edges = [n_bins * i // rows for i in range(rows + 1)]
    bands = np.stack([scaled[a : max(b, a + 1)].mean(axis=0) for a, b in pairwise(edges)])
    across = np.arange(columns) * n_columns // columns
    picked: list[list[float]] = np.clip(bands[::-1][:, across], 0, 1).tolist()
    return picked


def _frequency_label(shown: Picture, row: int, rows: int) -> str:
    if row not in (0, rows // 2, rows - 1):
        return ""
    n_bins = len(shown.frequency)
    place = n_bins - 1 if row == 0 else 0 if row == rows - 1 else n_bins * (rows - 1 - row) // rows
    value = float(shown.frequency[place])
    return f"{value:.0f} {shown.frequency_unit}".strip()


def _time_axis(shown: Picture, columns: int) -> str:
    end = f"{shown.duration:.4g} {shown.time_unit}"
    return " " * (_LABEL_WIDTH + 1) + "0" + end.rjust(max(columns - 1, len(end) + 1))


def _colour(level: float) -> Color:
    position = level * (len(_GRADIENT) - 1)
    i = min(int(position), len(_GRADIENT) - 2)
    share = position - i
    red, green, blue = (
        round(a + (b - a) * share) for a, b in zip(_GRADIENT[i], _GRADIENT[i + 1], strict=True)
    )
    return Color.from_rgb(red, green, blue)
