"""What came of a conversion, for people and for programs."""

import json
from typing import TYPE_CHECKING

from specctl.audio.reasons import DOUBTS, leaves_something, unmatched
from specctl.cli.app import print_line, say
from specctl.cli.draw import printable
from specctl.words import counted, duration, ratio, shell_command, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from specctl.config import SpectrogramConfig
    from specctl.convert import Estimate, Summary

_MOST_FILES_SHOWN = 20


def print_summary(
    summary: "Summary", *, as_json: bool, quiet: bool, verbose: bool, allow_truncated: bool
) -> None:
    """The report: failures and figures on stderr, or one JSON object on stdout.

    Parameters
    ----------
    allow_truncated : bool
        Files that are cut short were taken, so that nobody is told to try that.
    """
    for what, files in zip(("cut short and kept", "kept"), _truncated(summary), strict=True):
        _say_some(what, files, "/index/truncated", summary, "yellow")
    _say_some("failed", summary.failures, "/errors", summary, "red")
    if as_json:
        print_line(json.dumps(summary.to_dict()))
    if quiet:
        return
    if verbose:
        for key, reason in summary.skipped:
            say(printable(f"skipped: {key}: {reason}"))
        for key in summary.pruned:
            say(printable(f"taken out: {key}"))
        if summary.kernel:
            say(
                f"kernel {summary.kernel} on {', '.join(summary.devices)}: {summary.kernel_reason}"
            )
    is_complete = summary.status == "complete"
    lines = _complete_lines(summary) if is_complete else _lines(summary, allow_truncated)
    for line in lines:
        say(line)


def _truncated(summary: "Summary") -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Files that were kept although they are cut short, and those that only may be."""
    cut: list[tuple[str, str]] = []
    doubtful: list[tuple[str, str]] = []
    for key, reason in summary.truncated:
        (doubtful if reason in DOUBTS else cut).append((key, reason))
    return cut, doubtful


def _say_some(
    what: str,
    files: "Sequence[tuple[str, str]]",
    where: str,
    summary: "Summary",
    style: str,
) -> None:
    """A line for each file, up to a number that can be read."""
    for key, reason in files[:_MOST_FILES_SHOWN]:
        say(printable(f"{what}: {key}: {reason}"), style=style)
    more = len(files) - _MOST_FILES_SHOWN
    if more > 0:
        shown_by = shell_command("info", summary.store)
        say(f"… and {more:,} more, all in {where}: {shown_by}", style=style)


def print_empty_bands(config: "SpectrogramConfig") -> None:
    """A note where mel bands are always empty, since no bin of the FFT lies in them."""
    if config.n_mels is None:
        return
    import numpy as np

    from specctl.dsp.mel import mel_edges

    edges, step = mel_edges(config), config.sample_rate / config.n_fft
    # at its edges a band is 0
    first_bin = (np.floor(edges[:-2] / step) + 1) * step
    n_empty = int((first_bin >= edges[2:]).sum())
    if n_empty:
        say(
            f"{n_empty:,} of {config.n_mels:,} mel bands have no FFT bin: raise n_fft or lower "
            "n_mels",
            style="yellow",
        )


def print_unused_patterns(patterns: "Sequence[str]") -> None:
    """A note where a pattern is of no file, since it is wrong or files are called otherwise."""
    if patterns:
        say(printable(unmatched(patterns)), style="yellow")


def print_estimate(estimate: "Estimate", *, as_json: bool) -> None:
    """What a conversion would do."""
    if as_json:
        print_line(json.dumps(estimate.to_dict()))
        return
    if estimate.is_nothing:
        for line in (f"nothing to do{_and(estimate.n_unchanged, 'unchanged')}", *_seen(estimate)):
            print_line(line)
        return
    lines = [
        f"{counted(estimate.n_found, 'file')}, {duration(estimate.audio_hours * 3600)} of audio"
        f"{_and(estimate.n_skipped, 'skipped')}{_and(estimate.n_unreadable, 'not readable')}"
        f"{_and(estimate.n_too_short, 'too short')}"
        f"{_and(estimate.n_unchanged, 'unchanged')}{_relabelled(estimate.n_relabelled)}",
        f"sample rate {estimate.sample_rate} Hz{_resampled(estimate.n_resampled)}",
        f"about {size(estimate.n_bytes)}, {duration(estimate.seconds)} of work on this machine",
    ]
    lines += _seen(estimate)
    if estimate.n_pruned:
        lines.append(f"{counted(estimate.n_pruned, 'file')} gone, to be taken out of the store")
    if estimate.n_parts_done:
        lines.append(f"{estimate.n_parts_done:,} of {estimate.n_parts:,} parts are done before")
    if estimate.free_bytes is not None and estimate.needed_bytes > estimate.free_bytes:
        lines.append(
            f"too little room: parts and store need {size(estimate.needed_bytes)} together, "
            f"{size(estimate.free_bytes)} are free"
        )
    for line in lines:
        print_line(line)


def _complete_lines(summary: "Summary") -> list[str]:
    lines = [f"{summary.store} is complete: {counted(summary.n_items, 'item')}, nothing to do"]
    if summary.n_failed:
        lines.append(
            f"{counted(summary.n_found, 'file')} found: {summary.n_failed:,} failed as before"
            f"{_and(summary.n_skipped, 'skipped')}{_and(summary.n_unchanged, 'unchanged')}"
        )
    elif summary.n_unchanged:
        lines.append(f"{counted(summary.n_unchanged, 'file')} unchanged")
    if summary.n_failed_before:
        lines.append(
            f"{counted(summary.n_failed_before, 'file')} failed when it was made: "
            f"{shell_command('info', summary.store)}; --update tries again"
        )
    return lines + _seen(summary)


def _lines(summary: "Summary", allow_truncated: bool) -> list[str]:
    total = duration(summary.seconds["total"])
    lines = [
        f"{summary.store}: {counted(summary.n_items, 'item')}, "
        f"{counted(summary.n_frames, 'frame')}, {size(summary.n_bytes)}",
        f"{counted(summary.n_found, 'file')} found: {summary.n_converted:,} converted"
        f"{_and(summary.n_failed, 'failed')}{_and(summary.n_skipped, 'skipped')}"
        f"{_and(summary.n_unchanged, 'unchanged')}{_relabelled(summary.n_relabelled)}",
        f"sample rate {summary.sample_rate} Hz{_resampled(summary.n_resampled)}",
        f"{duration(summary.audio_seconds)} of audio in {total}{_pace(summary)}",
    ]
    n_kept, n_doubtful = map(len, _truncated(summary))
    if n_kept:
        lines.append(
            f"{n_kept:,} {'file was' if n_kept == 1 else 'files were'} cut short and kept"
        )
    if n_doubtful:
        were = "file, kept, is" if n_doubtful == 1 else "files, kept, are"
        lines.append(f"{n_doubtful:,} {were} perhaps cut short")
    n_cut = sum(leaves_something(reason) for _, reason in summary.failures)
    if n_cut and not allow_truncated:
        are, them = ("is", "it") if n_cut == 1 else ("are", "them")
        lines.append(
            f"{n_cut:,} of those that failed {are} cut short; --update --allow-truncated converts "
            f"what there is of {them}"
        )
    if summary.pruned:
        lines.append(f"{counted(len(summary.pruned), 'file')} gone, and taken out of the store")
    return [*lines, *_seen(summary), _where_time_went(summary)]


def _seen(told: "Summary | Estimate") -> list[str]:
    """What was seen when the files were found, and may not be what was meant."""
    lines = []
    if told.n_unlabelled:
        lines.append(f"{counted(told.n_unlabelled, 'file')} without a label")
    if told.n_labels_unused:
        lines.append(f"{counted(told.n_labels_unused, 'label')} for files that were not found")
    if told.n_since:
        them = "it" if told.n_since == 1 else "them"
        lines.append(
            f"{counted(told.n_since, 'file')} came after it was begun: --update adds {them}"
        )
    if told.n_gone:
        are, them = ("is", "it") if told.n_gone == 1 else ("are", "them")
        lines.append(
            f"{counted(told.n_gone, 'file')} of the store {are} not found under SOURCE: --update "
            f"--prune takes {them} out"
        )
    return lines


def _where_time_went(summary: "Summary") -> str:
    stages = {
        name: spent
        for name, spent in summary.seconds.items()
        if name not in ("total", "startup", "merge")
    }
    work = sum(stages.values())
    if not work:
        return "no work was left"
    shares = ", ".join(f"{name} {spent / work:.0%}" for name, spent in stages.items())
    starting = duration(summary.seconds["startup"])
    merging = duration(summary.seconds["merge"])
    return (
        f"time of {counted(max(1, summary.workers), 'worker')}: {shares}; bottleneck: "
        f"{summary.bottleneck}; {starting} to start, {merging} to join"
    )


def _pace(summary: "Summary") -> str:
    """How fast it was; not where the time is of other work than that of the audio."""
    if summary.n_resumed:
        return f" ({counted(summary.n_resumed, 'part')} done before)"
    if summary.n_unchanged:
        return ""
    return f", {ratio(summary.audio_seconds / summary.seconds['total'])} × real time"


def _and(count: int, what: str) -> str:
    return f", {count:,} {what}" if count else ""


def _relabelled(count: int) -> str:
    return f" ({count:,} with another label than before)" if count else ""


def _resampled(count: int) -> str:
    return f" ({counted(count, 'file')} resampled)" if count else ""
