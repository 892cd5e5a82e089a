"""What a run of ``bench`` found, as tables."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from specctl.cli.app import out

if TYPE_CHECKING:
    from specctl.bench import Cell, Report, Workload

_WIDTH = 200
"""Most that a table takes which goes to a file or a pipe."""


def print_report(report: "Report", *, quiet: bool, verbose: bool) -> None:
    """A table for each workload on stdout, then notes, the machine and the doubts."""
    console = out if out.is_terminal else Console(file=out.file, width=_WIDTH, emoji=False)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if report.settings["verify"]:
        console.print(_verdicts(report))
    else:
        for workload in report.workloads():
            console.print(_table(report, workload, verbose=verbose))
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
    lines = [f"{machine['cores']} cores of {machine['cpu']}{gpu}"]
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


def _verdicts(report: "Report") -> Table:
    """Everybody's errors on everything, when nothing was timed."""
    title = "greatest error against float64, in dB, by level below the clip's peak"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    levels = (f"to {name.split()[2]}" for name in _levels())
    for name in ("contender", "computes", "verdict", *levels, "gradient off"):
        is_text = name in ("contender", "computes", "verdict")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    for cell in report.cells:
        errors = (cell.max_db_error_by_level.get(name) for name in _levels())
        table.add_row(
            _name(cell),
            str(cell.workload).partition(", 1 ×")[0],
            cell.status,
            *(_number(error, ".1e") for error in errors),
            _number(cell.gradient_error, ".1e"),
            style=_style(cell),
        )
    return table


def _style(cell: "Cell") -> str:
    styles = {"failed": "red", "oom": "red", "unsupported": "dim"}
    return styles.get(cell.status, "bold" if cell.is_own else "")


def _table(report: "Report", workload: "Workload", *, verbose: bool) -> Table:
    table = Table(title=str(workload), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("contender", no_wrap=True)
    for name in _columns(workload, verbose=verbose):
        table.add_column(name, justify="right")
    for cell in report.of(workload):
        table.add_row(*_row(report, cell, verbose=verbose), style=_style(cell))
    return table


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
    around = f" ({1e3 * spread[0]:.3g}-{1e3 * spread[1]:.3g})" if spread else ""
    return f"{1e3 * cell.median_s:.3g}{around}"


def _mega(n_bytes: int | None) -> float | None:
    return None if n_bytes is None else n_bytes / 1e6


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
