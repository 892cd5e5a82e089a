"""Charts as inline SVG and pictures as inline PNG, for a page that needs nothing else."""

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

_WIDTH, _HEIGHT = 460, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 20, 10, 38
_TICKS = 5


class Line(NamedTuple):
    """One curve; ``kind`` is the CSS class that colours it."""

    name: str
    kind: str
    x: Sequence[float]
    y: Sequence[float]


def chart(title: str, lines: Sequence[Line], x_name: str, y_name: str) -> str:
    """Curves over common axes; points that are not finite are left out."""
    points = [
        [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(x + y)]
        for line in lines
    ]
    xs = [x for curve in points for x, _ in curve] or [0.0]
    ys = [y for curve in points for _, y in curve] or [0.0]
    x_axis = _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT)
    y_axis = _Axis(min(ys), max(ys), _HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(x_axis, y_axis), *_names(x_name, y_name)]
    for line, curve in zip(lines, points, strict=True):
        path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in curve)
        parts.append(
            f'<polyline class="{line.kind}" points="{path}">'
            f"<title>{escape(line.name)}</title></polyline>"
        )
    legend = " ".join(
        f'<span class="key {kind}">{escape(name)}</span>'
        for name, kind in dict.fromkeys((line.name, line.kind) for line in lines)
    )
    return (
        f"<figure><figcaption>{escape(title)} {legend}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg></figure>'
    )


def picture(title: str, levels: np.ndarray, x_name: str, y_name: str) -> str:
    """A matrix of levels in [0, 1] as grey values, the first row at the bottom; 1 is dark."""
    grey = (255 * (1 - np.clip(levels[::-1], 0.0, 1.0))).round().astype(np.uint8)
    data = base64.b64encode(_png(grey)).decode()
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'
        f'<p class="soft">→ {escape(x_name)}, ↑ {escape(y_name)}</p></figure>'
    )


class _Axis:
    """Values to pixels, and where to put ticks."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        if high - low < 1e-12:
            low, high = low - 0.5, high + 0.5
        self._low, self._high, self._first, self._last = low, high, first, last

    def at(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return self._first + share * (self._last - self._first)

    def ticks(self) -> list[float]:
        rough = (self._high - self._low) / _TICKS
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
        first = math.ceil(self._low / step - 1e-9)
        return [step * n for n in range(first, math.floor(self._high / step + 1e-9) + 1)]


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    parts = []
    for tick in y_axis.ticks():
        y = y_axis.at(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4}" text-anchor="end">{tick:.6g}</text>')
    for tick in x_axis.ticks():
        x = x_axis.at(tick)
        parts.append(f'<text x="{x}" y="{bottom + 15}" text-anchor="middle">{tick:.6g}</text>')
    return parts


def _names(x_name: str, y_name: str) -> list[str]:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    height = (_TOP + _HEIGHT - _BOTTOM) / 2
    return [
        f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>',
        f'<text transform="translate(12 {height}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_name)}</text>",
    ]


def _png(grey: np.ndarray) -> bytes:
    """(rows, columns) uint8 as a PNG of grey values."""
    height, width = grey.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # each row begins with its filter, none
    rows[:, 1:] = grey
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
