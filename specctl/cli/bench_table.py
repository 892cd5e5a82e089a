"""What a run of ``bench`` found, as tables."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from specctl.cli.app import out
from specctl.words import counted

if TYPE_CHECKING:
    from specctl.bench import Cell, Report, Workload

_WIDTH = 200
"""Most that a table takes which goes to a file or a pipe."""
_LEAST_TELLING = (
    *("MB grown", "of limit", "to -20", "dB to -20", "to -40", "dB to -40", "ns/frame"),
    *("to -60", "dB to -60", "× real time", "MB peak", "to -80", "dB to -80", "gradient off"),
    "× nnAudio",
)
"""Columns that make room for others on a narrow terminal, the first one first."""
_WRAPPED = ("ms a call (20-80 %)", "computes")


def print_report(report: "Report", *, quiet: bool, verbose: bool) -> None:
    """A table for each workload on stdout, then notes, the machine and the doubts."""
    console = out if out.is_terminal else Console(file=out.file, width=_WIDTH, emoji=False)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if report.settings["verify"]:
        console.print(_verdicts(report, console.width))
    else:
        for workload in report.workloads():
            console.print(_table(report, workload, console.width, verbose=verbose))
            for line in [] if quiet else _notes(report.of(workload)):
                say(f"  {line}")
    if quiet:
        return
    if verbose:
        for name, text in dict.fromkeys((cell.contender, cell.equalised) for cell in report.cells):
            say(f"equal: {name}: {text}")
    for line in _machine(report):
        say(line)
    for text in report.skipped:
        say(f"skipped: {text}")
    for text in report.doubts:
        say(f"doubt: {text}")


def _machine(report: "Report") -> list[str]:
    machine = report.machine
    gpu = f", {machine['gpu']['name']}" if machine["gpu"] else ""
    lines = [f"{counted(machine['cores'], 'core')} of {machine['cpu']}{gpu}"]
    for threads, speed in report.copy_bytes_per_s.items():
        cores = "1 thread" if threads == "1" else f"{threads} threads"
        lines.append(f"a copy moves {speed / 1e9:.3g} GB/s with {cores}: “of limit” is against it")
    return lines


def _notes(cells: list["Cell"]) -> list[str]:
    """What was said about cells, those of whom the same was said together."""
    said: dict[str, list[str]] = {}
    for cell in cells:
        if cell.note:
            said.setdefault(cell.note, []).append(_name(cell))
        if cell.stages_s:
            text = ", ".join(f"{name} {spent:.2f} s" for name, spent in cell.stages_s.items())
            said.setdefault(text, []).append(_name(cell))
    return [f"{', '.join(names)}: {note}" for note, names in said.items()]


def _verdicts(report: "Report", width: int) -> Table:
    """Everybody's errors on everything, when nothing was timed."""
    levels = (f"to {name.split()[2]}" for name in _levels())
    names = ["contender", "computes", "verdict", *levels, "gradient off"]
    rows = [
        [
            _name(cell),
            str(cell.workload).partition(", 1 ×")[0],
            cell.status,
            *(_number(cell.max_db_error_by_level.get(name), ".1e") for name in _levels()),
            _number(cell.gradient_error, ".1e"),
        ]
        for cell in report.cells
    ]
    title = "greatest error against float64, in dB, by level below the clip's peak"
    return _fitted(title, names, rows, [_style(cell) for cell in report.cells], width)


def _style(cell: "Cell") -> str:
    styles = {"failed": "red", "oom": "red", "unsupported": "dim"}
    return styles.get(cell.status, "bold" if cell.is_own else "")


def _table(report: "Report", workload: "Workload", width: int, *, verbose: bool) -> Table:
    cells = report.of(workload)
    names = ["contender", *_columns(workload, verbose=verbose)]
    rows = [_row(report, cell, verbose=verbose) for cell in cells]
    return _fitted(str(workload), names, rows, [_style(cell) for cell in cells], width)


def _fitted(
    title: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[str],
    width: int,
) -> Table:
    """A table that fits between the edges of a terminal, by less columns and no cut numbers."""
    columns = {name: [name, *(row[i] for row in rows)] for i, name in enumerate(names)}
    least = {
        name: max(len(word) for text in texts for word in text.split())
        for name, texts in columns.items()
    }
    is_wide = _width_of(max(map(len, texts)) for texts in columns.values()) <= width
    shown = list(names)
    for name in _LEAST_TELLING:
        if is_wide or _width_of(least[each] for each in shown) <= width:
            break
        shown = [each for each in shown if each != name]
    left_out = ", ".join(name for name in names if name not in shown)
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        caption=f"without {left_out}: the terminal is narrow" if left_out else None,
        caption_justify="left",
    )
    for name in shown:
        is_text = name in ("contender", "computes", "verdict")
        fixed = None if is_wide or name in _WRAPPED else least[name]
        table.add_column(name, justify="left" if is_text else "right", width=fixed)
    for i, style in enumerate(styles):
        table.add_row(*(columns[name][i + 1] for name in shown), style=style)
    return table


def _width_of(columns: Iterable[int]) -> int:
    """Of a table with columns of such widths, the space between them and at the edges included."""
    return 1 + sum(3 + column for column in columns)


def _columns(workload: "Workload", *, verbose: bool) -> list[str]:
    names = ["ms a call (20-80 %)", "ns/frame", "× real time", "of limit", "MB peak", "MB grown"]
    names += [f"dB to {name.split()[2]}" for name in _levels()] if verbose else ["dB off"]
    names += ["gradient off"] if workload.trains else ["× torch.stft"]
    return [*names, "× nnAudio"]


def _row(report: "Report", cell: "Cell", *, verbose: bool) -> list[str]:
    own = cell.gradient_error if cell.workload.trains else report.ratio(cell, "torch.stft")
    by_level = [cell.max_db_error_by_level.get(name) for name in _levels()]
    errors = by_level if verbose else [cell.max_db_error]
    return [
        _name(cell),
        _times(cell),
        _number(cell.ns_per_frame, ",.0f"),
        _number(cell.x_real_time, ",.0f"),
        _number(report.share_of_limit(cell), ".1%"),
        _number(_mega(cell.peak_bytes), ",.1f"),
        _number(_mega(cell.peak_rss_bytes), ",.1f"),
        *(_number(error, ".1e") for error in errors),
        _number(own, ".1e" if cell.workload.trains else ".2f"),
        _number(report.ratio(cell, "nnAudio"), ".2f"),
    ]


def _levels() -> tuple[str, ...]:
    from specctl.bench.accuracy import LEVEL_NAMES

    return LEVEL_NAMES


def _name(cell: "Cell") -> str:
    return cell.contender if cell.precision == "fp32" else f"{cell.contender} {cell.precision}"


def _times(cell: "Cell") -> str:
    if cell.median_s is None:
        return "-" if cell.status == "ok" else cell.status
    spread = cell.spread_s
    around = f" ({_milliseconds(spread[0])}-{_milliseconds(spread[1])})" if spread else ""
    return f"{_milliseconds(cell.median_s)}{around}"


def _milliseconds(seconds: float) -> str:
    """Three digits, and never an exponent."""
    return f"{float(f'{1e3 * seconds:.3g}'):,.15g}"


def _mega(n_bytes: int | None) -> float | None:
    return None if n_bytes is None else n_bytes / 1e6


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
