"""What came of a training job as one HTML page that needs nothing else."""

from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np
import torch

from specctl.durable import write_atomically
from specctl.training.arms import ArmResult
from specctl.training.drawing import Line, chart, picture
from specctl.training.drift import Drift, response
from specctl.training.summary import Summary

_MOST_ROWS = 6  # rows of the basis that are drawn
_MOST_CLASSES = 60  # of the confusion matrix
_FLOOR_DB = -60.0
_MOST_PIXELS = 1024

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2327; --soft: #6a747c; --rule: #d9dee2;
  --ground: #fff; --fixed: #7a8790; --trained: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9eb; --soft: #97a1a8; --rule: #3a4248;
  --ground: #15191c; --fixed: #94a3ad; --trained: #fb923c; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
.verdict { font-size: 1.2rem; font-weight: 600; } .soft { color: var(--soft); margin: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-weight: 600; } img { width: 100%; height: 16rem;
  image-rendering: pixelated; background: #fff; }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif;
  fill: var(--soft); } .grid { stroke: var(--rule); }
polyline { fill: none; stroke-width: 1.5; } polyline.fixed { stroke: var(--fixed); }
polyline.trained { stroke: var(--trained); } .key { font-weight: 400; margin-left: .6rem; }
.key.fixed { color: var(--fixed); } .key.trained { color: var(--trained); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .15rem .5rem; text-align: right; font-variant-numeric: tabular-nums; }
th { font-weight: 400; color: var(--soft); }
"""


def write_page(path: Path, summary: Summary) -> None:
    """Write the report, whole or not at all; what was there is replaced.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    # names of files may be no text
    write_atomically(path, "\n".join(_page(summary)).encode(errors="backslashreplace"))


def _page(summary: Summary) -> Iterator[str]:
    title = f"{summary.output.name}: trained basis"
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
    yield f"<style>{_STYLE}</style><h1>{escape(title)}</h1>"
    if summary.verdict is not None:
        yield f'<p class="verdict">{escape(summary.verdict.sentence)}</p>'
        yield f"<p>{escape(summary.verdict.cost)}</p>"
    yield (
        f"<p>{summary.n_trained:,} numbers trained ({escape(', '.join(summary.settings.train))}), "
        f"model {escape(summary.settings.model)}, {summary.n_files:,} files of "
        f"{len(summary.classes)} classes. The basis written is that of run "
        f"{summary.kept_run + 1}, the best on its validation files.</p>"
    )
    yield _runs(summary)
    yield f'<h2>Curves</h2><div class="charts">{"".join(_curves(summary))}</div>'
    if summary.drift is not None:
        yield f'<h2>Drift</h2><div class="charts">{"".join(_drifts(summary.drift))}</div>'
        yield "<h2>The rows that moved furthest</h2>"
        yield f'<div class="charts">{"".join(_rows(summary, summary.drift))}</div>'
        yield "<h2>What each row answers to</h2>"
        yield f'<div class="charts">{"".join(_responses(summary))}</div>'
    if summary.bands is not None:
        yield f'<h2>Bands</h2><div class="charts">{"".join(_bands(*summary.bands))}</div>'
    yield f"<h2>What was taken for what</h2>{_confusion(summary)}"
    yield "<h2>Settings</h2><p>"
    settings = {**summary.settings.to_dict(), **summary.config.to_dict()}
    yield ", ".join(f"{name} {escape(str(value))}" for name, value in settings.items())
    yield f"</p><p class='soft'>dataset {summary.dataset_hash}</p></html>"


def _runs(summary: Summary) -> str:
    names = ("accuracy", "macro_f1", "ms_per_step", "peak_memory_mb")
    rows = [
        f"<tr><th>{each.run + 1} {each.arm}</th>"
        + "".join(f"<td>{_number(each.figures()[name])}</td>" for name in names)
        + "</tr>"
        for each in summary.results
    ]
    heads = ("run", "accuracy", "macro F1", "ms per step", "MB at the peak")
    return f"<table><tr>{''.join(f'<th>{h}</th>' for h in heads)}</tr>{''.join(rows)}</table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value <= 1 else f"{value:.1f}"


def _curves(summary: Summary) -> Iterator[str]:
    for key, name in (
        ("train_loss", "loss on training files"),
        ("validation_loss", "loss on validation files"),
        ("validation_accuracy", "accuracy on validation files"),
    ):
        lines = [_curve(each, key) for each in summary.results]
        yield chart(name[:1].upper() + name[1:], lines, "epoch", name.partition(" ")[0])


def _curve(result: ArmResult, key: str) -> Line:
    return Line(
        result.arm,
        result.arm,
        [float(each["epoch"]) for each in result.history],
        [float(each[key]) for each in result.history],
    )


def _drifts(moved: Drift) -> Iterator[str]:
    start = moved.centre_at_start.tolist()
    yield chart(
        "Angle between each row and its start",
        [Line("trained", "trained", start, moved.angle.tolist())],
        "centre at the start, Hz",
        "degrees",
    )
    for name, now, before in (
        ("Centre frequency", moved.centre, moved.centre_at_start),
        ("Bandwidth", moved.bandwidth, moved.bandwidth_at_start),
    ):
        lines = [
            Line("start", "fixed", start, before.tolist()),
            Line("trained", "trained", start, now.tolist()),
        ]
        yield chart(f"{name} of each row", lines, "centre at the start, Hz", "Hz")


def _rows(summary: Summary, moved: Drift) -> Iterator[str]:
    n_freqs = len(moved.angle)
    time_ms = [1000 * n / summary.config.sample_rate for n in range(summary.config.n_fft)]
    bases = (("start", "fixed", summary.start), ("trained", "trained", summary.trained))
    levels = {kind: _level_db(response(basis)) for _, kind, basis in bases}
    frequency = np.linspace(0, summary.config.sample_rate / 2, levels["fixed"].shape[1]).tolist()
    for row in moved.angle.argsort(descending=True)[:_MOST_ROWS].tolist():
        name = f"Row {row} of {n_freqs}, {moved.angle[row]:.1f}°"
        yield chart(
            f"{name}: real part",
            [Line(label, kind, time_ms, basis[row].tolist()) for label, kind, basis in bases],
            "ms",
            "weight",
        )
        yield chart(
            f"{name}: response",
            [Line(label, kind, frequency, levels[kind][row].tolist()) for label, kind, _ in bases],
            "Hz",
            "dB",
        )


def _level_db(power: torch.Tensor) -> np.ndarray:
    """Each row relative to its peak, floored."""
    peak = power.amax(1, keepdim=True).clamp(min=1e-300)
    level_db = 10 * torch.log10((power / peak).clamp(min=10 ** (_FLOOR_DB / 10)))
    array: np.ndarray = level_db.numpy()
    return array


def _responses(summary: Summary) -> Iterator[str]:
    for title, basis in (("At the start", summary.start), ("Trained", summary.trained)):
        level = 1.0 - _level_db(response(basis)) / _FLOOR_DB
        steps = [max(1, -(-size // _MOST_PIXELS)) for size in level.shape]
        yield picture(title, level[:: steps[0], :: steps[1]], "frequency of a tone", "row")


def _bands(start: torch.Tensor, trained: torch.Tensor) -> Iterator[str]:
    for title, weights in (("At the start", start), ("Trained", trained)):
        level = (weights / weights.amax(1, keepdim=True).clamp(min=1e-30)).numpy()
        steps = [max(1, -(-size // _MOST_PIXELS)) for size in level.shape]
        yield picture(title, level[:: steps[0], :: steps[1]], "bin of the FFT", "band")


def _confusion(summary: Summary) -> str:
    confusion = summary.kept.test["confusion"]
    if len(confusion) > _MOST_CLASSES:
        shares = np.array(confusion, dtype=float)
        shares /= np.maximum(shares.sum(1, keepdims=True), 1)
        return picture("Share of each true class", shares, "predicted class", "true class")
    heads = "".join(f"<th>{escape(name)}</th>" for name in summary.classes)
    rows = []
    for name, counts in zip(summary.classes, confusion, strict=True):
        total = max(1, sum(counts))
        cells = "".join(
            f'<td style="background:rgb(194 65 12 / {count / total:.2f})">{count or ""}</td>'
            for count in counts
        )
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return (
        '<p class="soft">Row: true class; column: predicted class; on the test files.</p>'
        f'<div class="scroll"><table><tr><th></th>{heads}</tr>{"".join(rows)}</table></div>'
    )
