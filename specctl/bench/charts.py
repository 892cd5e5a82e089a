"""Charts as SVG, written out by hand: logarithmic axes, a line or a dot for each contender."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 82, 150, 16, 46
COLOURS = (
    *("#0b6e4f", "#d1495b", "#2e86ab", "#e8871e", "#7b4b94", "#5c6b73", "#b5651d", "#1b998b"),
    *("#c71585", "#6b8e23", "#4a5fc1", "#8c2f39"),
)


@dataclass(frozen=True, slots=True)
class Series:
    """One contender: its points, in the units of the axes, and the number of its colour."""

    name: str
    points: tuple[tuple[float, float], ...]
    colour: int
    is_bold: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A logarithmic axis from ``low`` to ``high``; ``ticks`` where it is labelled."""

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, title: str, values: Sequence[float], *, only: bool = False) -> "Axis":
        """Wide enough for all values; ``only`` labels these values and no others."""
        low, high = min(values), max(values)
        if only:
            ticks = tuple(sorted(set(values)))
            margin = (high / low) ** 0.06 if high > low else 1.5
            return cls(title, low / margin, high * margin, ticks)
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        last = max(last, first + 1)
        steps = (1, 2, 5) if last - first <= 2 else (1,)
        ticks = tuple(step * 10.0**decade for decade in range(first, last + 1) for step in steps)
        return cls(title, 10.0**first, 10.0**last, tuple(t for t in ticks if t <= 10.0**last))

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high."""
        return math.log(value / self.low) / math.log(self.high / self.low)


def lines(series: Sequence[Series], x: Axis, y: Axis, *, label: str) -> str:
    """A line through the points of each, its name at the end."""
    parts = [_frame(x, y)]
    for each in series:
        places = [_place(x, y, *point) for point in each.points]
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
        width = 3 if each.is_bold else 1.5
        parts.append(
            f'<polyline class="line" points="{path}" stroke="{_colour(each)}" '
            f'stroke-width="{width}" fill="none"/>'
        )
        parts += [_dot(each, x, y, point) for point in each.points]
    return _svg([*parts, *_legend(series)], label)


def dots(series: Sequence[Series], x: Axis, y: Axis, *, label: str, limit: float) -> str:
    """A dot for each point, and a line that no dot may lie above."""
    parts = [_frame(x, y)]
    if y.low < limit < y.high:
        _, top = _place(x, y, x.low, limit)
        parts.append(
            f'<line class="limit" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{top:.1f}" '
            f'y2="{top:.1f}"/><text class="limit" x="{_LEFT + 6}" y="{top - 5:.1f}">'
            f"contract, {limit:g} dB</text>"
        )
    parts += [_dot(each, x, y, point) for each in series for point in each.points]
    return _svg([*parts, *_legend(series)], label)


def _frame(x: Axis, y: Axis) -> str:
    parts = []
    bottom = HEIGHT - _BOTTOM
    for tick in x.ticks:
        left, _ = _place(x, y, tick, y.low)
        parts.append(
            f'<line class="grid" x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP}" y2="{bottom}"/>'
            f'<text x="{left:.1f}" y="{bottom + 17}" text-anchor="middle">{_figure(tick)}</text>'
        )
    for tick in y.ticks:
        _, top = _place(x, y, x.low, tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{top:.1f}" '
            f'y2="{top:.1f}"/><text x="{_LEFT - 7}" y="{top + 4:.1f}" text-anchor="end">'
            f"{_figure(tick)}</text>"
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{escape(x.title)}</text>"
    )
    parts.append(
        f'<text class="axis" transform="translate(14 {(_TOP + bottom) / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y.title)}</text>'
    )
    return "".join(parts)


def _dot(series: Series, x: Axis, y: Axis, point: tuple[float, float]) -> str:
    left, top = _place(x, y, *point)
    radius = 5 if series.is_bold else 4
    title = f"{series.name}: {point[1]:.3g} at {point[0]:.4g}"
    return (
        f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{radius}" fill="{_colour(series)}">'
        f"<title>{escape(title)}</title></circle>"
    )


def _legend(series: Sequence[Series]) -> list[str]:
    left = WIDTH - _RIGHT + 14
    parts = []
    for index, each in enumerate(series):
        top = _TOP + 12 + 18 * index
        weight = ' font-weight="bold"' if each.is_bold else ""
        parts.append(
            f'<circle cx="{left}" cy="{top - 4}" r="4" fill="{_colour(each)}"/>'
            f'<text x="{left + 10}" y="{top}"{weight}>{escape(each.name)}</text>'
        )
    return parts


def _svg(parts: Sequence[str], label: str) -> str:
    inside = "".join(parts)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{inside}</svg>'
    )


def _place(x: Axis, y: Axis, right: float, up: float) -> tuple[float, float]:
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    return _LEFT + width * x.share(right), _TOP + height * (1 - y.share(up))


def _colour(series: Series) -> str:
    return COLOURS[series.colour % len(COLOURS)]


def _figure(value: float) -> str:
    return f"{value:g}" if 1e-3 <= value < 1e6 else f"{value:.0e}".replace("e-0", "e-")
