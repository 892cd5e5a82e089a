"""All records in results/ as one page, RESULTS.md.

python benchmarks/results.py            # write it
python benchmarks/results.py --check    # exit 1 if it is not up to date
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import report as convert_report

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE / "RESULTS.md"
BENCH, CONVERT = "specctl-bench/1", "specctl-benchmark-convert/1"
HEADINGS = (
    *("", "× torch.stft", "× nnAudio", "ns/frame", "20-80 %", "× real time", "of limit"),
    *("MB peak", "MB grown", "dB off", "gradient off"),
)
ABOUT = """\
# Results

Written by `python benchmarks/results.py` from the records in `results/`; change nothing here.

× torch.stft and × nnAudio say how many times faster a row is than these, as the median of the
ratios within each round. Of limit: the time that copying inputs and outputs would take, over the
time it took. MB peak: most that was in use beyond the inputs; MB grown: most that a fresh
process grew. dB off: greatest error against float64 down to 80 dB below the clip's peak.
Whose numbers are wrong has no time.
"""


def page(records: dict[str, dict[str, Any]]) -> str:
    """The whole page; ``records`` by the name of their file."""
    parts, others = [ABOUT], []
    for name, record in records.items():
        if record.get("schema") == BENCH:
            parts.append(_bench(name, record))
        elif record.get("schema") == CONVERT:
            parts.append(_convert(name, record))
        else:
            others.append(f"- `{name}`")
    if others:
        parts.append("## Other records\n\n" + "\n".join(others) + "\n")
    return "\n".join(parts)


def _about(record: dict[str, Any]) -> str:
    machine, versions = record["machine"], record["versions"]
    gpu = machine.get("gpu")
    named = [f"{name} {number}" for name, number in versions.items() if number]
    return (
        f"{record['date'][:10]}, {machine['cores']} cores of {machine['cpu']}"
        + (f", {gpu['name']}, driver {gpu['driver']}" if gpu else "")
        + f"; {', '.join(named)}.\n"
    )


def _doubts(texts: Iterable[str]) -> str:
    return "".join(f"- {text}\n" for text in texts)


def _bench(name: str, record: dict[str, Any]) -> str:
    cells: dict[str, list[dict[str, Any]]] = {}
    for cell in record["cells"]:
        cells.setdefault(json.dumps(cell["workload"]), []).append(cell)
    works = ", ".join(record["settings"]["works"])
    parts = [f"## {works} on {record['settings']['device']}: `{name}`\n", _about(record)]
    speeds = record["copy_bytes_per_s"].items()
    copied = (f"{speed / 1e9:.3g} GB/s with {threads} threads" for threads, speed in speeds)
    parts.append(f"A copy moves {', '.join(copied)}.\n")
    for key, group in cells.items():
        parts.append(f"### {_title(json.loads(key))}\n")
        parts.append(_table(group))
    if record["doubts"] or record["skipped"]:
        parts.append("Doubts and what was not measured:\n")
        parts.append(_doubts([*record["doubts"], *record["skipped"]]))
    return "\n".join(parts)


def _title(workload: dict[str, Any]) -> str:
    mels = f" / {workload['n_mels']}" if workload["n_mels"] else ""
    threads = "one core" if workload["threads"] == 1 else f"{workload['threads']} cores"
    return (
        f"{workload['output']}, {workload['n_fft']} / {workload['hop_length']}{mels} at "
        f"{workload['sample_rate']} Hz, {workload['batch']} × {workload['seconds']:g} s, "
        + (threads if workload["device"] == "cpu" else workload["device"])
    )


def _table(cells: list[dict[str, Any]]) -> str:
    rows = [cell for cell in cells if cell["status"] != "unsupported"]
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    lines += ["| " + " | ".join(_row(cell)) + " |" for cell in rows]
    absent = [f"{cell['contender']} ({cell['note']})" for cell in cells if cell not in rows]
    left_out = f"\nNot here: {'; '.join(absent)}.\n" if absent else ""
    return "\n".join(lines) + "\n" + left_out


def _row(cell: dict[str, Any]) -> list[str]:
    precision = "" if cell["precision"] == "fp32" else f" {cell['precision']}"
    name = f"{cell['contender']}{precision}"
    status = "" if cell["status"] == "ok" else f" ({cell['status']}: {cell['note']})"
    stages = ", ".join(f"{stage} {spent:.2f} s" for stage, spent in cell["stages_s"].items())
    own = "**" if name.startswith("specctl-") else ""
    n_frames = cell["n_frames"]
    spread = "-"
    if cell["p20_s"] is not None:
        spread = f"{1e9 * cell['p20_s'] / n_frames:,.0f}-{1e9 * cell['p80_s'] / n_frames:,.0f}"
    return [
        f"{own}{name}{own}{status}" + (f" ({stages})" if stages else ""),
        _number(cell["ratio_to_torch_stft"], ".2f"),
        _number(cell["ratio_to_nnaudio"], ".2f"),
        _number(cell["ns_per_frame"], ",.0f"),
        spread,
        _number(cell["x_real_time"], ",.0f"),
        _number(cell["share_of_limit"], ".1%"),
        _number(cell["peak_bytes"], ",.1f", 1e-6),
        _number(cell["peak_rss_bytes"], ",.1f", 1e-6),
        _number(cell["max_db_error"], ".1e"),
        _number(cell["gradient_error"], ".1e"),
    ]


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "-" if value is None else format(factor * value, form)


def _convert(name: str, record: dict[str, Any]) -> str:
    table = convert_report.table(record)
    return (
        f"## A folder to a store: `{name}`\n\n{_about(record)}\n```\n{table}\n```\n\n"
        + _doubts(record.get("doubts", []))
    )


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Every record by the name of its file."""
    return {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }


def main() -> None:
    """Write the page, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description="All records as one page, RESULTS.md.")
    parser.add_argument("--check", action="store_true", help="only compare")
    check = parser.parse_args().check
    text = page(read_records(RESULTS))
    if not check:
        PAGE.write_text(text, encoding="utf-8")
        return
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit("RESULTS.md is not up to date; run: python benchmarks/results.py")


if __name__ == "__main__":
    main()
