"""From the runs of `convert.py` to a summary and a table."""

from collections.abc import Iterable
from typing import Any

from contenders import CONTENDERS
from record import spread

HEADINGS = (
    "contender",
    "with start-up, s",
    "ratio",
    "steady, s",
    "ratio",
    "x real time",
    "memory MB",
    "output MB",
    "max dB off",
)


def summarise(runs: list[dict[str, Any]], audio_seconds: float) -> list[dict[str, Any]]:
    """One row for each format, compression and contender, in the order they ran first."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for run in runs:
        case = (run["format"], run["compression"], run["contender"])
        if case not in rows:
            rows[case] = _row(case, runs, audio_seconds)
    for (name, compression, _), row in rows.items():
        ours = rows.get((name, compression, "specctl"))
        for clock in ("wall_s", "steady_s"):
            row[f"{clock}_over_specctl"] = _over(row, ours, clock)
    return list(rows.values())


def _row(
    case: tuple[str, str, str], runs: list[dict[str, Any]], audio_seconds: float
) -> dict[str, Any]:
    mine = [run for run in runs if (run["format"], run["compression"], run["contender"]) == case]
    good = [run for run in mine if run["error"] is None]

    def values(field: str) -> list[float]:
        return [run[field] for run in good if run[field] is not None]

    wall_s = spread(values("wall_s"))
    return {
        **dict(zip(("format", "compression", "contender"), case, strict=True)),
        "n_good": len(good),
        "n_failed": len(mine) - len(good),
        "wall_s": wall_s,
        "steady_s": spread(values("steady_s")),
        "x_real_time": audio_seconds / wall_s["median"] if wall_s else None,
        "peak_tree_mb": spread(values("peak_tree_mb")),
        "peak_process_mb": spread(values("peak_process_mb")),
        "output_mb": spread(values("output_mb")),
        "agreement": next((run["agreement"] for run in good if run["agreement"]), None),
    }


def _over(row: dict[str, Any], ours: dict[str, Any] | None, clock: str) -> float | None:
    if ours is None or not ours[clock] or not row[clock]:
        return None
    return float(row[clock]["median"] / ours[clock]["median"])


def table(record: dict[str, Any]) -> str:
    """Plain text, one block for each format and compression."""
    blocks = []
    summary = record["summary"]
    for case in dict.fromkeys((row["format"], row["compression"]) for row in summary):
        rows = [row for row in summary if (row["format"], row["compression"]) == case]
        title = (
            f"{case[0]}, compression {case[1]}: {record['corpus']['minutes']:g} minutes in "
            f"{record['corpus']['n_files']} files, {record['settings']['workers']} workers, "
            f"median (min-max) of {record['repeats']}"
        )
        blocks.append("\n".join([title, "", *_aligned([HEADINGS, *map(_cells, rows)])]))
    notes = [
        "with start-up: the whole process; steady: after imports and warm-up; ratio: time over",
        "specctl's; memory: all processes at once; max dB off: from librosa in float64",
    ]
    return "\n\n".join([*blocks, "\n".join(notes)])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    title = CONTENDERS[row["contender"]].title
    if not row["n_good"]:
        return (title, "failed", *[""] * (len(HEADINGS) - 2))
    agreement = row["agreement"] or {}
    return (
        title,
        _seconds(row["wall_s"]),
        _number(row["wall_s_over_specctl"], ".2f"),
        _seconds(row["steady_s"]),
        _number(row["steady_s_over_specctl"], ".2f"),
        _number(row["x_real_time"], ",.0f"),
        _number(_median(row["peak_tree_mb"] or row["peak_process_mb"]), ",.0f"),
        _number(_median(row["output_mb"]), ",.1f"),
        "wrong shape" if "problem" in agreement else _number(agreement.get("max_db"), ".1e"),
    )


def _seconds(values: dict[str, float] | None) -> str:
    if not values:
        return "-"
    return f"{values['median']:.2f} ({values['min']:.2f}-{values['max']:.2f})"


def _median(values: dict[str, float] | None) -> float | None:
    return values["median"] if values else None


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _aligned(lines: Iterable[tuple[str, ...]]) -> list[str]:
    """First column to the left, the others to the right."""
    lines = list(lines)
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADINGS))]
    return [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in lines
    ]
