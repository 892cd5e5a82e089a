"""What a run of ``bench`` found, as tables."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from specctl.cli.app import out

if TYPE_CHECKING:
    from specctl.bench import Cell, Report, Workload

_WIDTH = 150
"""Of a table that goes to a file or a pipe."""


def print_report(report: "Report", *, quiet: bool, verbose: bool) -> None:
    """A table for each workload on stdout, then the machine and the doubts."""
    console = out if out.is_terminal else Console(width=_WIDTH, emoji=False)
    for workload in report.workloads():
        console.print(_table(report, workload, verbose=verbose))
    if quiet:
        return
    machine = report.machine
    gpu = f", {machine['gpu']['name']}" if machine["gpu"] else ""
    lines = [f"{machine['cores']} cores of {machine['cpu']}{gpu}"]
    for threads, speed in report.copy_bytes_per_s.items():
        cores = "1 thread" if threads == "1" else f"{threads} threads"
        lines.append(f"a copy moves {speed / 1e9:.3g} GB/s with {cores}: 'of limit' is against it")
    lines += [f"skipped: {text}" for text in report.skipped]
    lines += [f"doubt: {text}" for text in report.doubts]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(report: "Report", workload: "Workload", *, verbose: bool) -> Table:
    table = Table(title=str(workload), title_justify="left", title_style="bold")
    table.add_column("contender", no_wrap=True)
    table.add_column("ms a call (20-80 %)", justify="right", no_wrap=True)
    for name in ("ns/frame", "× real time", "of limit", "MB peak", "MB grown"):
        table.add_column(name, justify="right")
    table.add_column("dB off to -80", justify="right")
    if workload.trains:
        table.add_column("gradient off", justify="right")
    else:
        table.add_column("× torch.stft", justify="right")
    table.add_column("× nnAudio", justify="right")
    table.add_column("note")
    for cell in report.of(workload):
        style = "red" if cell.status in ("failed", "oom") else "dim" if cell.status != "ok" else ""
        style = style or ("bold" if cell.is_own else "")
        table.add_row(*_row(report, cell, verbose=verbose), style=style)
    return table


def _row(report: "Report", cell: "Cell", *, verbose: bool) -> list[str]:
    limit = report.share_of_limit(cell)
    own = cell.gradient_error if cell.workload.trains else report.ratio(cell, "torch.stft")
    precision = "" if cell.precision == "fp32" else f" {cell.precision}"
    return [
        f"{cell.contender}{precision}",
        _times(cell),
        _number(cell.ns_per_frame, ",.0f"),
        _number(cell.x_real_time, ",.0f"),
        _number(limit, ".1%"),
        _number(_mega(cell.peak_bytes), ",.1f"),
        _number(_mega(cell.peak_rss_bytes), ",.0f"),
        _number(cell.max_db_error, ".1e"),
        _number(own, ".1e" if cell.workload.trains else ".2f"),
        _number(report.ratio(cell, "nnAudio"), ".2f"),
        _note(cell, verbose=verbose),
    ]


def _times(cell: "Cell") -> str:
    if cell.median_s is None:
        return "-"
    spread = cell.spread_s
    around = f" ({1e3 * spread[0]:.3g}-{1e3 * spread[1]:.3g})" if spread else ""
    return f"{1e3 * cell.median_s:.3g}{around}"


def _note(cell: "Cell", *, verbose: bool) -> str:
    parts: list[str] = [] if cell.status == "ok" else [cell.status]
    parts += [cell.note] if cell.note else []
    if cell.stages_s:
        parts.append(", ".join(f"{name} {spent:.2f} s" for name, spent in cell.stages_s.items()))
    if verbose and cell.equalised:
        parts.append(cell.equalised)
    return ": ".join(parts)


def _mega(n_bytes: int | None) -> float | None:
    return None if n_bytes is None else n_bytes / 1e6


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
