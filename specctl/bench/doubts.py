"""Why figures may not be trusted, each with its cure."""

import math
from collections.abc import Callable, Iterable
from statistics import median

from specctl.bench.results import Cell, Report

_WIDE = 0.15
_HALVES = 0.05
_DRIFT = 0.03
_SHORTEST_SAMPLE_S = 1e-3
_FEWEST_SAMPLES = 6
_BUSY = 0.3
_OVER_BUDGET = 1.5
_MOST_NAMED = 4


def find_doubts(report: Report) -> list[str]:
    """Sentences, each a doubt and its cure."""
    timed = [cell for cell in report.cells if cell.samples_s]
    kinds: tuple[tuple[Callable[[Cell], bool], str], ...] = (
        (
            _is_wide,
            "times vary by more than 15 % from the 20th to the 80th percentile; run again when "
            "nothing else runs, or with more --rounds",
        ),
        (
            _halves_differ,
            "the two halves of the rounds differ by more than 5 %; run again when nothing else "
            "runs",
        ),
        (
            _is_short,
            "a sample lasts less than 1 ms, near what a clock can tell; use a longer --seconds or "
            "a larger --batch",
        ),
        (_is_few, "fewer than 6 samples; give more --rounds and a larger --budget"),
        (
            _took_more_cores,
            "kept more than one core busy when one was allowed; compare it with the rows of all "
            "cores",
        ),
    )
    found = [*_load(report), *_budget(report), *_drift(timed)]
    found += [f"{_named(hit)}: {text}" for is_hit, text in kinds if (hit := _hits(timed, is_hit))]
    return found


def _hits(cells: Iterable[Cell], is_hit: Callable[[Cell], bool]) -> list[Cell]:
    return [cell for cell in cells if is_hit(cell)]


def _named(cells: list[Cell]) -> str:
    names = [f"{cell.contender} ({_short(cell)})" for cell in cells]
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _short(cell: Cell) -> str:
    threads = f", {cell.workload.threads} threads" if cell.workload.threads > 1 else ""
    return f"{cell.workload.work} {cell.workload.n_fft}{threads}"


def _load(report: Report) -> list[str]:
    load, cores = report.machine["load_at_start"], report.machine["cores"]
    if load <= _BUSY * cores:
        return []
    return [f"the load was {load} on {cores} cores at the start; run again when nothing else runs"]


def _budget(report: Report) -> list[str]:
    budget = report.settings.get("budget_s", math.inf)
    if report.elapsed_s <= _OVER_BUDGET * budget:
        return []
    timed = "" if report.settings.get("verify") else " and timed four times"
    return [
        f"it took {report.elapsed_s:.0f} s, with a --budget of {budget:g} s: whoever has begun is "
        f"checked{timed}; give a larger --budget or fewer --contenders"
    ]


def _drift(cells: list[Cell]) -> list[str]:
    """All getting slower together is the machine, not a contender."""
    changes = [late / early - 1 for early, late in map(_halves, cells) if early and late]
    if len(changes) < 2 or median(changes) <= _DRIFT:
        return []
    return [
        f"everybody got slower while it ran, by {median(changes):.0%} in the middle of them; let "
        "the machine cool down, fix its clock, or stop what else began to run"
    ]


def _halves(cell: Cell) -> tuple[float | None, float | None]:
    middle = len(cell.samples_s) // 2
    if middle < 1:
        return None, None
    return median(cell.samples_s[:middle]), median(cell.samples_s[middle:])


def _halves_differ(cell: Cell) -> bool:
    early, late = _halves(cell)
    return bool(early and late) and abs(late / early - 1) > _HALVES  # type: ignore[operator]


def _is_wide(cell: Cell) -> bool:
    spread, middle = cell.spread_s, cell.median_s
    return bool(spread and middle) and (spread[1] - spread[0]) / middle > _WIDE  # type: ignore


def _is_short(cell: Cell) -> bool:
    return cell.median_s is not None and cell.median_s * cell.n_calls < _SHORTEST_SAMPLE_S


def _is_few(cell: Cell) -> bool:
    return len(cell.samples_s) < _FEWEST_SAMPLES and cell.workload.work != "convert"


def _took_more_cores(cell: Cell) -> bool:
    allowed = cell.workload.threads == 1 and cell.workload.work != "convert"
    return allowed and cell.cores_busy is not None and cell.cores_busy > 1.25
