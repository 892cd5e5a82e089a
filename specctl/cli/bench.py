"""``specctl bench``: speed, memory and error of the kernels, beside everybody else's."""

import json as json_module
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from specctl.cli.app import ExitCode, command, err, print_line, reported_errors, say
from specctl.cli.bench_options import (
    Batch,
    Budget,
    Contenders,
    Device,
    FailBelow,
    HopLength,
    JsonFile,
    Memory,
    NFft,
    NMels,
    Quiet,
    Rate,
    ReportFile,
    Rounds,
    Seconds,
    SweepName,
    ThreadsName,
    Verbose,
    Verify,
    WorkNames,
)
from specctl.cli.bench_table import print_report
from specctl.cli.stopping import Terminated, terminable
from specctl.durable import HTML, JSON, check_distinct, check_place, check_replaced
from specctl.errors import ParameterError

if TYPE_CHECKING:
    from specctl.bench import Report, Request

_HELP = """Measure speed, peak memory and error of the kernels, and of what people use today.

Nobody's speed is printed whose numbers are wrong. Without options: log-mel of a clip of 30 s in \
two settings, on one core and on all, in under two minutes.

Example: specctl bench --sweep n_fft --json out.json --report out.html
"""


@command("bench", help=_HELP)
def bench(  # one flag for each setting
    work: WorkNames = None,
    device: Device = "auto",
    sample_rate: Rate = None,
    n_fft: NFft = None,
    hop_length: HopLength = None,
    n_mels: NMels = None,
    batch: Batch = None,
    seconds: Seconds = None,
    sweep: SweepName = None,
    threads: ThreadsName = "both",
    contenders: Contenders = None,
    json: JsonFile = None,
    report: ReportFile = None,
    fail_below: FailBelow = None,
    verify: Verify = False,
    rounds: Rounds = 20,
    budget: Budget = 100.0,
    memory: Memory = True,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure speed, peak memory and error of the kernels, and of what people use today."""
    with reported_errors():
        from specctl.bench import Request

        request = Request(
            works=tuple(work or ("mel",)),  # type: ignore[arg-type]
            device=device,
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            n_mels=n_mels,
            batch=batch,
            seconds=seconds,
            sweep=sweep,  # type: ignore[arg-type]
            threads=threads,  # type: ignore[arg-type]
            contenders=_names(contenders),
            rounds=rounds,
            budget=budget,
            memory=memory,
            verify=verify,
        )
        if fail_below is not None:
            _check_fail_below(fail_below, request)
        _check_files(json, report)
        found = _run(request, json, report, quiet=quiet)
    if json is not None and str(json) == "-":
        print_line(json_module.dumps(found.to_dict()))
    else:
        print_report(found, quiet=quiet, verbose=verbose)
    _exit_if_bad(found, verify=verify, fail_below=fail_below)


def _names(given: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (given or "").split(",") if name.strip())
    if given is not None and not names:
        raise ParameterError(f"contenders must be names, got {given!r}")
    return names


def _check_fail_below(ratio: float, request: "Request") -> None:
    """Refuse before the work a ratio that nothing of it could be held against."""
    from specctl.bench.contenders import listed_contenders
    from specctl.bench.machine import resolve_device
    from specctl.bench.results import BASELINES

    if not 0 <= ratio < math.inf:
        raise ParameterError(f"fail_below must be finite and not negative, got {ratio:g}")
    if request.verify:
        raise ParameterError("--fail-below must not be given with --verify, which times nothing")
    if not {"mel", "stft"}.intersection(request.works):
        works = " and ".join(request.works)
        raise ParameterError(f"--fail-below must be given with work mel or stft, got {works}")
    if not request.contenders:
        return
    listed = listed_contenders(request.contenders, resolve_device(request.device))
    baseline = (BASELINES["ratio_to_torch_stft"], "fp32")
    has_both = any(each.name.startswith("specctl-") for each in listed) and any(
        (each.name, each.precision) == baseline for each in listed
    )
    if not has_both:
        raise ParameterError(
            f"contenders must have specctl and {baseline[0]} with --fail-below, "
            f"got {', '.join(request.contenders)}"
        )


def _check_files(json: Path | None, report: Path | None) -> None:
    """Refuse before the work what cannot be written, or would replace a file of another kind."""
    if json is not None and str(json) == "-":
        json = None
    if json is not None:
        check_place(json)
        check_replaced(json, JSON, "--json")
    if report is not None:
        check_place(report)
        check_replaced(report, HTML, "--report")
    check_distinct({"json": json, "report": report}, {})


def _run(request: "Request", json: Path | None, report: Path | None, *, quiet: bool) -> "Report":
    from specctl.bench import run_bench
    from specctl.bench.page import write_page
    from specctl.bench.results import write_json
    from specctl.bench.run import Hooks

    writers: dict[Path, Any] = {}
    if json is not None and str(json) != "-":
        writers[json] = write_json(json)
    if report is not None:
        writers[report] = write_page(report)

    def save(found: "Report") -> None:
        for write in writers.values():
            write(found)

    with err.status("starting") if err.is_interactive and not quiet else _Silent() as status:

        def tell(text: str) -> None:
            if err.is_interactive:
                status.update(text)
            elif not quiet and ":" in text:  # a workload, not each of its steps
                say(text)

        try:
            with terminable():
                return run_bench(request, Hooks(save=save, say=tell))
        except KeyboardInterrupt as stopped:
            kept = f"; what was measured is in {next(iter(writers))}" if writers else ""
            say(f"specctl: stopped{kept}")
            is_terminated = isinstance(stopped, Terminated)
            code = ExitCode.TERMINATED if is_terminated else ExitCode.INTERRUPTED
            raise typer.Exit(code) from stopped


class _Silent:
    """Stands where a spinner would."""

    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, text: str) -> None:
        """Say nothing."""


def _exit_if_bad(found: "Report", *, verify: bool, fail_below: float | None) -> None:
    broken = found.broken()
    for cell in broken:
        _complain(f"{cell.contender} on {cell.workload}: {cell.note}")
    failed = bool(broken) and verify
    if verify and found.status == "out of time":
        _complain("--verify had no time for some of the kernels; give a larger --budget")
        failed = True
    if fail_below is not None:
        from specctl.bench.results import BASELINES

        ratios = found.best_ratios(BASELINES["ratio_to_torch_stft"])
        if not ratios:
            _complain("--fail-below had no mel or stft to look at")
            failed = True
        for workload, ratio in ratios.items():
            if ratio is None or ratio < fail_below:
                shown = "has no ratio" if ratio is None else f"is {ratio:.2f} ×"
                _complain(f"specctl over torch.stft {shown} on {workload}, wanted {fail_below:g}")
                failed = True
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _complain(text: str) -> None:
    say(f"specctl: {text}", style="red")
