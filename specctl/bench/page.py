"""A report as one HTML page that needs nothing else: charts, tables, machine, doubts."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from specctl.bench.accuracy import CONTRACT_DB, LEVEL_NAMES
from specctl.bench.charts import Axis, Series, dots, lines
from specctl.bench.results import Cell, Report
from specctl.bench.workload import Workload
from specctl.durable import write_atomically

_SWEPT = ("n_fft", "batch", "seconds", "n_mels")
_SMALLEST_DB = 1e-7
"""Errors below it are drawn there; float64 results have none at all."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2327; --soft: #6a747c; --rule: #d9dee2;
  --ground: #fff; --own: #e9f4ef; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9eb; --soft: #97a1a8; --rule: #3a4248;
  --ground: #15191c; --own: #17302a; --bad: #ff8a80; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 92rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
p, li { max-width: 60rem; } .soft, caption, .axis { color: var(--soft); fill: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-weight: 600; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .grid { stroke: var(--rule); } svg line.limit { stroke: var(--bad); stroke-dasharray: 5 4; }
svg text.limit, svg text.axis { fill: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
td:last-child { white-space: normal; min-width: 16rem; font-weight: 400; }
caption { text-align: left; padding: 1rem 0 .3rem; }
th:first-child, td:first-child, td:last-child, th:last-child { text-align: left; }
tr.own { background: var(--own); font-weight: 600; } tr.failed td, tr.oom td { color: var(--bad); }
tr.unsupported td { color: var(--soft); }
"""
_HEADINGS = (
    *("contender", "precision", "ms a call", "20-80 %", "ns/frame", "× real time", "of limit"),
    *(
        "MB peak",
        "MB grown",
        *(f"dB to {name.split()[2]}" for name in LEVEL_NAMES),
        "× torch.stft",
        "× nnAudio",
        "note",
    ),
)


def write_page(path: Path) -> Callable[[Report], None]:
    """What writes the page to ``path``, whole or not at all, each time it is called."""

    def write(report: Report) -> None:
        write_atomically(path, page(report).encode())

    return write


def page(report: Report) -> str:
    """The whole page."""
    sections = "".join(_section(report, group) for group in _groups(report.workloads()))
    data = json.dumps(report.to_dict()).replace("<", "\\u003c")
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8"><title>specctl bench</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>specctl bench</h1>{_about(report)}"
        f"{_list('Doubts', report.doubts, 'none')}{_list('Not measured', report.skipped, '')}"
        f"{sections}{_equalised(report)}{_versions(report)}"
        f'<script type="application/json" id="report">{data}</script></body></html>\n'
    )


def _about(report: Report) -> str:
    machine = report.machine
    gpu = (
        f", {machine['gpu']['name']}, driver {machine['gpu']['driver']}" if machine["gpu"] else ""
    )
    speeds = ", ".join(
        f"{speed / 1e9:.3g} GB/s with {threads} thread{'s' if threads != '1' else ''}"
        for threads, speed in report.copy_bytes_per_s.items()
    )
    copied = f" A copy moves {speeds}; “of limit” is against that." if speeds else ""
    text = f"{report.date}, {machine['cores']} cores of {machine['cpu']}{gpu}, {report.status}."
    return (
        f'<p class="soft">{escape(text + copied)} Memory is what a call takes beyond its inputs: '
        "“peak” is what was in use, “grown” what a fresh process grew by. Whose "
        f"numbers are off by more than {CONTRACT_DB:g} dB down to 80 dB below the clip's peak is "
        "not timed.</p>"
    )


def _groups(workloads: Sequence[Workload]) -> list[list[Workload]]:
    """Workloads that are drawn together: the same work on as many threads."""
    groups: dict[tuple[object, ...], list[Workload]] = {}
    for workload in workloads:
        key = (workload.work, workload.output, workload.device, workload.threads)
        groups.setdefault(key, []).append(workload)
    return list(groups.values())


def _section(report: Report, group: list[Workload]) -> str:
    first = group[0]
    cores = f", {first.threads} thread{'s' if first.threads > 1 else ''}"
    title = f"{first.work}, {first.output}, {first.device}{cores if first.device == 'cpu' else ''}"
    tables = "".join(_table(report, workload) for workload in group)
    charts = "".join(_charts(report, group))
    return f'<h2>{escape(title)}</h2><div class="charts">{charts}</div>{tables}'


def _charts(report: Report, group: list[Workload]) -> Iterable[str]:
    cells = [cell for workload in group for cell in report.of(workload) if cell.ns_per_frame]
    if not cells:
        return
    colours = {name: place for place, name in enumerate(dict.fromkeys(map(_name, report.cells)))}
    field = _varied(group)
    x = Axis.over(field, [getattr(cell.workload, field) for cell in cells], only=True)

    def series(points: Callable[[Cell], tuple[float, float] | None]) -> list[Series]:
        by_name: dict[str, list[tuple[float, float]]] = {}
        for cell in cells:
            point = points(cell)
            if point is not None:
                by_name.setdefault(_name(cell), []).append(point)
        return [
            Series(name, tuple(sorted(found)), colours[name], name.startswith("specctl-"))
            for name, found in by_name.items()
        ]

    cost = series(lambda cell: (getattr(cell.workload, field), cell.ns_per_frame or 0.0))
    yield _figure("Cost", lines(cost, x, _axis("ns per frame", cost), label="cost"))
    taken = series(lambda cell: _peak(cell, field))
    if taken:
        y = _axis("MB beyond the inputs", taken)
        yield _figure("Peak memory", lines(taken, x, y, label="memory"))
    off = series(_error)
    if off:
        ranges = [value for each in off for value, _ in each.points]
        across = Axis.over("ns per frame", ranges)
        heights = [value for each in off for _, value in each.points]
        up = Axis.over("dB off float64, to -80 dB", [*heights, 2 * CONTRACT_DB])
        drawn = dots(off, across, up, label="error beside speed", limit=CONTRACT_DB)
        yield _figure("Error beside speed", drawn)


def _axis(title: str, series: list[Series]) -> Axis:
    return Axis.over(title, [value for each in series for _, value in each.points])


def _peak(cell: Cell, field: str) -> tuple[float, float] | None:
    if not cell.peak_rss_bytes and not cell.peak_bytes:
        return None
    taken = cell.peak_rss_bytes or cell.peak_bytes or 0
    return getattr(cell.workload, field), max(taken, 1e5) / 1e6


def _error(cell: Cell) -> tuple[float, float] | None:
    if cell.ns_per_frame is None or cell.max_db_error is None:
        return None
    return cell.ns_per_frame, max(cell.max_db_error, _SMALLEST_DB)


def _varied(group: list[Workload]) -> str:
    """The setting in which the workloads of a group differ."""
    for field in _SWEPT:
        if len({getattr(replace(workload), field) for workload in group}) == len(group) > 1:
            return field
    return "n_fft"


def _figure(caption: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def _table(report: Report, workload: Workload) -> str:
    rows = "".join(_row(report, cell) for cell in report.of(workload))
    heads = "".join(f"<th>{escape(text)}</th>" for text in _HEADINGS)
    return (
        f'<div class="scroll"><table><caption>{escape(str(workload))}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(report: Report, cell: Cell) -> str:
    own = " own" if cell.is_own else ""
    spread = cell.spread_s
    values = (
        *(cell.contender, cell.precision, _shown(_times(cell.median_s, 1e3), ".3g")),
        "-" if spread is None else f"{1e3 * spread[0]:.3g}-{1e3 * spread[1]:.3g}",
        _shown(cell.ns_per_frame, ",.0f"),
        _shown(cell.x_real_time, ",.0f"),
        _shown(report.share_of_limit(cell), ".1%"),
        _shown(_times(cell.peak_bytes, 1e-6), ",.1f"),
        _shown(_times(cell.peak_rss_bytes, 1e-6), ",.1f"),
        *(_shown(cell.max_db_error_by_level.get(name), ".1e") for name in LEVEL_NAMES),
        _shown(report.ratio(cell, "torch.stft"), ".2f"),
        _shown(report.ratio(cell, "nnAudio"), ".2f"),
        _note(cell),
    )
    boxes = "".join(f"<td>{escape(value)}</td>" for value in values)
    return f'<tr class="{cell.status}{own}">{boxes}</tr>'


def _note(cell: Cell) -> str:
    parts = [] if cell.status == "ok" else [str(cell.status)]
    parts += [cell.note] if cell.note else []
    if cell.gradient_error is not None:
        parts.append(f"basis gradient off by {cell.gradient_error:.1e}")
    parts += [f"{name} {spent:.2f} s" for name, spent in cell.stages_s.items()]
    return ", ".join(parts)


def _equalised(report: Report) -> str:
    found = dict.fromkeys((cell.contender, cell.equalised) for cell in report.cells)
    return _list("What was made equal", [f"{name}: {text}" for name, text in found], "")


def _versions(report: Report) -> str:
    found = [f"{name} {number}" for name, number in report.versions.items() if number]
    flags = [f"{name}={value}" for name, value in report.flags.items()]
    return _list("Versions and switches", [", ".join(found), ", ".join(flags)], "")


def _list(title: str, texts: Sequence[str], nothing: str) -> str:
    if not texts:
        return f"<h2>{title}</h2><p>{nothing}</p>" if nothing else ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<h2>{title}</h2><ul>{items}</ul>"


def _name(cell: Cell) -> str:
    return cell.contender if cell.precision == "fp32" else f"{cell.contender} {cell.precision}"


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
