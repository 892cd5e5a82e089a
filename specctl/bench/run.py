"""A whole run: check, then time in turns, then measure memory; a row for whatever goes wrong."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from specctl.bench.audio import check_room, clips, rotation
from specctl.bench.checks import Gate, record_problem
from specctl.bench.contenders import listed_contenders
from specctl.bench.contenders.base import Contender, Prepared
from specctl.bench.doubts import find_doubts
from specctl.bench.machine import (
    cache_bytes,
    describe_flags,
    describe_machine,
    describe_versions,
    resolve_device,
)
from specctl.bench.memory import Memory, measure_apart
from specctl.bench.request import Request
from specctl.bench.results import BASELINES, Cell, Report
from specctl.bench.timing import Runner, Timer, copy_bandwidth, n_threads, race, timer_for
from specctl.bench.workload import Workload
from specctl.errors import ParameterError

_MEMORY_SHARE = 0.4
"""Of the budget, what is kept for memory while workloads are timed."""


@dataclass
class Hooks:
    """What a run calls, and what tests put in the place of clocks and processes.

    ``save`` gets the report whenever a cell has changed, ``say`` a word about what is done now.
    """

    save: Callable[[Report], None] = lambda report: None
    say: Callable[[str], None] = lambda text: None
    timer: Timer | None = None
    memory: Callable[[Contender, Workload, float], Memory] = measure_apart
    bandwidth: Callable[[str, Timer], float] | None = None
    contenders: Sequence[Contender] | None = None


@dataclass
class _Entry:
    """A contender that passed the gate of a workload."""

    contender: Contender
    prepared: Prepared
    cell: Cell
    runner: Runner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = Runner(self.prepared.call)


def run_bench(request: Request, hooks: Hooks | None = None) -> Report:
    """Measure what ``request`` asks for.

    Returns
    -------
    Report
        A contender that is missing, cannot do it, is wrong, raises or runs out of memory is
        a cell with that status.

    Raises
    ------
    ParameterError
        For settings that are wrong, before anything is measured.
    KeyboardInterrupt
        After what was measured so far went to ``hooks.save``.
    """
    hooks = hooks or Hooks()
    device = resolve_device(request.device)
    workloads = request.workloads(device)
    contenders = hooks.contenders
    if contenders is None:
        names = request.contenders or (("specctl-",) if request.verify else ())
        contenders = listed_contenders(names, device)
    for workload in workloads:
        check_room(workload)
        if request.contenders and not any(_may_do(each, workload) for each in contenders):
            raise ParameterError(
                f"contenders must have one for work {workload.work!r}, "
                f"got {', '.join(request.contenders)}"
            )
    return _Run(request, hooks, device, workloads, list(contenders)).run()


class _Run:
    """The state of one run."""

    def __init__(
        self,
        request: Request,
        hooks: Hooks,
        device: str,
        workloads: list[Workload],
        contenders: list[Contender],
    ) -> None:
        self._request, self._hooks = request, hooks
        self._workloads, self._contenders = workloads, contenders
        self._timer = hooks.timer or timer_for(device)
        self._began = self._timer.now()
        self._cache_bytes = cache_bytes(device)
        self.report = Report(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=describe_machine(device),
            versions=describe_versions(),
            flags=describe_flags(),
            settings=_settings(request, device),
            skipped=_skipped(request, device),
        )

    def run(self) -> Report:
        """Everything, in order; what was measured is saved whatever happens."""
        try:
            self._measure()
        except KeyboardInterrupt:
            self.report.status = "stopped"
            raise
        finally:
            self.report.elapsed_s = self._timer.now() - self._began
            self.report.doubts = find_doubts(self.report)
            self._hooks.save(self.report)
        return self.report

    def _measure(self) -> None:
        for index, workload in enumerate(self._workloads):
            if self._left() <= 0:
                self._leave_out([f"{each}: no time left" for each in self._workloads[index:]])
                break
            self._hooks.say(str(workload))
            with warnings.catch_warnings(), n_threads(workload.threads), torch.no_grad():
                warnings.simplefilter("ignore")
                self._run_workload(workload, len(self._workloads) - index)
        if self._measures_memory:
            self._measure_memory()
        if self.report.status == "running":
            self.report.status = "complete"

    @property
    def _measures_memory(self) -> bool:
        return self._request.memory and not self._request.verify

    def _left(self) -> float:
        return self._began + self._request.budget - self._timer.now()

    def _run_workload(self, workload: Workload, n_left: int) -> None:
        kept = _MEMORY_SHARE * self._request.budget if self._measures_memory else 0.0
        ends = self._timer.now() + max(0.0, self._left() - kept) / n_left
        waveform = clips(workload)
        entries = self._checked(workload, waveform)
        try:
            if not self._request.verify:
                self._time(workload, entries, ends)
        finally:
            for entry in entries:
                self._finish(entry)

    def _checked(self, workload: Workload, waveform: Tensor) -> list[_Entry]:
        """Everybody who gives the right numbers; a cell for everybody there was time for."""
        gate = Gate(workload, waveform)
        entries = []
        contenders = [each for each in self._contenders if _may_do(each, workload)]
        for index, contender in enumerate(contenders):
            if self._left() <= 0:
                names = ", ".join(each.name for each in contenders[index:])
                self._leave_out([f"{workload}: no time left for {names}"])
                break
            cell = Cell(contender.name, contender.precision, workload, contender.equalised)
            self.report.cells.append(cell)
            self._hooks.say(f"checking {contender.name}")
            entry = _try_to_enter(gate, contender, cell)
            _give_back(cell)
            if entry is not None:
                entries.append(entry)
            self._hooks.save(self.report)
        return entries

    def _leave_out(self, what: list[str]) -> None:
        self.report.status = "out of time"
        self.report.skipped += what

    def _time(self, workload: Workload, entries: list[_Entry], ends: float) -> None:
        if not entries:
            return
        self._measure_copy(workload)
        inputs = rotation(workload, self._cache_bytes)
        for entry in entries:
            try:
                entry.runner.warm_up(inputs, self._timer, workload.device)
            except Exception as problem:  # one of many may fail; it is recorded
                entry.runner.problem = problem.with_traceback(None)
        early = self._request.rounds // 2
        halves = (early, self._request.rounds - early)
        for number, rounds in enumerate(halves):
            self._hooks.say(f"timing, half {number + 1} of 2")
            seconds = max(0.0, ends - self._timer.now()) / (2 - number)
            runners = [entry.runner for entry in entries]
            race(runners, inputs, self._timer, rounds=rounds, seconds=seconds)
            for entry in entries:
                self._take(entry)
            self._hooks.save(self.report)

    def _measure_copy(self, workload: Workload) -> None:
        key = str(workload.threads)
        if key not in self.report.copy_bytes_per_s:
            measure = self._hooks.bandwidth or copy_bandwidth
            self.report.copy_bytes_per_s[key] = measure(workload.device, self._timer)

    def _take(self, entry: _Entry) -> None:
        """Bring what the runner has into its cell."""
        cell, runner = entry.cell, entry.runner
        cell.samples_s, cell.n_calls = list(runner.samples), runner.n_calls
        if runner.processor_share:
            cell.cores_busy = sum(runner.processor_share) / len(runner.processor_share)
        if runner.problem is not None:
            cell.samples_s = []
            record_problem(cell, runner.problem)
            _give_back(cell)

    def _finish(self, entry: _Entry) -> None:
        self._take(entry)
        entry.cell.stages_s = dict(entry.prepared.details())
        entry.prepared.close()

    def _measure_memory(self) -> None:
        """Where time is left; only that of training depends on threads."""
        known: dict[tuple[object, ...], Memory] = {}
        # should time run out: first our own and those that all are compared with
        others = (*BASELINES.values(), "librosa")
        for cell in sorted(
            self.report.cells, key=lambda cell: not (cell.is_own or cell.contender in others)
        ):
            if cell.status != "ok" or cell.workload.work == "convert":
                continue
            settings = cell.workload.to_dict()
            if not cell.workload.trains:
                settings["threads"] = 0
            key = (cell.contender, cell.precision, *settings.values())
            if key not in known:
                known[key] = self._memory_of(cell)
            cell.peak_bytes = known[key].peak_bytes
            cell.peak_rss_bytes = known[key].peak_rss_bytes
            if known[key].problem is not None:
                cell.note = "; ".join(filter(None, (cell.note, known[key].problem)))
            self._hooks.save(self.report)

    def _memory_of(self, cell: Cell) -> Memory:
        if self._left() <= 0:
            return Memory(problem="no time left for memory; give a larger --budget")
        self._hooks.say(f"memory of {cell.contender}")
        contender = next(
            each
            for each in self._contenders
            if (each.name, each.precision) == (cell.contender, cell.precision)
        )
        # the process itself takes seconds to begin
        return self._hooks.memory(contender, cell.workload, max(30.0, self._left()))


def _may_do(contender: Contender, workload: Workload) -> bool:
    """Whether they are timed together at all: converters and transforms are never compared."""
    return (workload.work == "convert") == ("convert" in contender.works)


def _try_to_enter(gate: Gate, contender: Contender, cell: Cell) -> _Entry | None:
    prepared = None
    try:
        reason = contender.missing() or contender.unsupported(cell.workload)
        if reason is not None:
            cell.status, cell.note = "unsupported", reason
            return None
        prepared = contender.prepare(cell.workload)
        if gate.check(contender, prepared, cell):
            return _Entry(contender, prepared, cell)
    except Exception as problem:  # one of many may fail; it is recorded
        record_problem(cell, problem)
    if prepared is not None:
        prepared.close()
    return None


def _give_back(cell: Cell) -> None:
    """Leave the device to others; not while an exception holds on to what it went through."""
    if cell.status == "oom":
        torch.cuda.empty_cache()


def _settings(request: Request, device: str) -> dict[str, Any]:
    return {
        "device": device,
        "works": list(request.works),
        "rounds": request.rounds,
        "budget_s": request.budget,
        "sweep": request.sweep,
        "verify": request.verify,
    }


def _skipped(request: Request, device: str) -> list[str]:
    if request.device == "auto" and device == "cpu":
        return ["no CUDA device here: nothing was measured on a GPU"]
    return []
