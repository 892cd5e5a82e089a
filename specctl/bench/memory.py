"""What a call takes in memory beyond its inputs, measured in a process of its own.

A process that did other work before has its buffers and libraries already; so each figure comes
from a fresh one, after a call on a short clip that loads what is loaded once.
"""

import ctypes
import json
import multiprocessing
import os
import tempfile
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

import torch
from torch import Tensor

from specctl.bench.audio import clips
from specctl.bench.contenders import find_contender
from specctl.bench.contenders.base import Allocator, Contender, Prepared
from specctl.bench.timing import n_threads
from specctl.bench.workload import Workload
from specctl.convert.fork_server import begin_fork_server
from specctl.main_memory import begin_peak, give_back, resident_bytes

_SHORT_SECONDS = 0.5
_M_MMAP_THRESHOLD = -3
_MAPPED_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Memory:
    """Peaks over what was held before, in bytes; ``None`` where they cannot be seen.

    ``peak_bytes`` is what was in use, by the allocator or, where threads have tasks of their
    own, by a process that gives large blocks back at once; ``peak_rss_bytes`` is what an ordinary
    process grew by, freed memory that it kept included.
    """

    peak_bytes: int | None = None
    peak_rss_bytes: int | None = None
    problem: str | None = None


def measure_apart(contender: Contender, workload: Workload, timeout: float) -> Memory:
    """Memory of one call, in a fresh process; where threads have tasks of their own, in two."""
    memory = _apart(contender, workload, timeout, mapped=False)
    if not _has_tasks(workload) or memory.problem:
        return memory
    in_use = _apart(contender, workload, timeout, mapped=True)
    return Memory(in_use.peak_rss_bytes, memory.peak_rss_bytes, in_use.problem)


def _has_tasks(workload: Workload) -> bool:
    """Whether threads take memory by themselves: a profiler sees only its own thread."""
    return workload.device == "cpu" and workload.trains and workload.threads > 1


def _apart(contender: Contender, workload: Workload, timeout: float, *, mapped: bool) -> Memory:
    """What `measure_here` finds in a fresh process, whose large blocks may be ``mapped``."""
    with tempfile.TemporaryDirectory(prefix="specctl-bench-") as folder:
        answer = Path(folder) / "answer.json"
        task = (contender.name, contender.precision, workload, answer, mapped)
        process = _context().Process(target=_measure_and_write, args=task, daemon=True)
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            return Memory(problem="memory was not measured in time")
        if not answer.exists():
            return Memory(problem=f"the process for memory ended with {process.exitcode}")
        return Memory(**json.loads(answer.read_text(encoding="utf-8")))


@lru_cache(maxsize=1)
def _context() -> ForkServerContext:
    """Processes from one that has imported what takes seconds, and done nothing."""
    # torch's compiler, which its profiler and its optimisers import, though they need it not
    begin_fork_server("torch._dynamo", "librosa", "specctl.bench.memory")
    return multiprocessing.get_context("forkserver")


def _measure_and_write(
    name: str, precision: str, workload: Workload, answer: Path, mapped: bool
) -> None:
    warnings.simplefilter("ignore")
    # the profiler and some contenders write to the terminal
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    try:
        contender = find_contender(name, precision, workload.device)
        can_map = not mapped or _map_blocks()
        with n_threads(workload.threads), torch.no_grad():
            memory = measure_here(contender, workload) if can_map else Memory()
    except Exception as problem:  # it is the answer
        first = (str(problem).strip() or "no message").splitlines()[0]
        memory = Memory(problem=f"memory: {type(problem).__name__}: {first}")
    temporary = answer.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(memory)), encoding="utf-8")
    temporary.replace(answer)


def _map_blocks() -> bool:
    """Have the C library give each large block pages of its own, which go back when it is freed.

    The process then grows by what is in use. Only glibc can do so.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES))
    except (OSError, AttributeError):
        return False


def measure_here(contender: Contender, workload: Workload) -> Memory:
    """Memory of one call in this process, which should have done nothing yet."""
    if workload.work == "convert":
        return Memory()
    # a clip for each thread, which all load what is loaded once
    seconds = max(_SHORT_SECONDS, 2.5 * _frame_seconds(workload))
    short = replace(workload, batch=workload.threads, seconds=seconds)
    warm, little = contender.prepare(short), clips(short).to(workload.device)
    warm.call(little)
    prepared = contender.prepare(workload)
    waveform = clips(workload).to(workload.device)
    if workload.device != "cpu":
        return Memory(peak_bytes=_cuda_peak(prepared, waveform))
    allocator = _ALLOCATORS["unseen" if _has_tasks(workload) else contender.allocator]
    allocator(lambda: warm.call(little))  # the instrument loads things of its own
    give_back()
    before = resident_bytes()
    peak = allocator(lambda: prepared.call(waveform))
    _forget_gradients(prepared)
    return Memory(peak, _growth(lambda: prepared.call(waveform), before))


def _frame_seconds(workload: Workload) -> float:
    return workload.n_fft / workload.sample_rate


def _forget_gradients(prepared: Prepared) -> None:
    for parameter in prepared.parameters:
        parameter.grad = None


def _cuda_peak(prepared: Prepared, waveform: Tensor) -> int:
    # the first call of a size chooses algorithms, which takes memory once
    prepared.call(waveform)
    _forget_gradients(prepared)
    device = waveform.device
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    kept = prepared.call(waveform)
    torch.cuda.synchronize(device)
    del kept
    return torch.cuda.max_memory_allocated(device) - before


def _growth(run: Callable[[], object], before: int | None) -> int | None:
    """Largest resident size while ``run`` runs, over ``before``; Linux only."""
    if before is None or not begin_peak():
        return None
    kept = run()
    peak = resident_bytes(at_peak=True)
    del kept
    return None if peak is None else max(0, peak - before)


def _torch_peak(run: Callable[[], object]) -> int:
    """Peak of torch's CPU allocator, from its own events."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = run()
    del kept
    events = [
        (event.start_ns(), event.nbytes())
        for event in profiler.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    held = peak = 0
    for _, change in sorted(events, key=lambda event: event[0]):
        held += change
        peak = max(peak, held)
    return peak


def _numpy_peak(run: Callable[[], object]) -> int:
    """Peak of what numpy and Python took."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = run()
        peak = tracemalloc.get_traced_memory()[1] - before
        del kept
    finally:
        tracemalloc.stop()
    return peak


def _unseen(run: Callable[[], object]) -> None:
    """An allocator that nobody can ask."""


_ALLOCATORS: dict[Allocator, Callable[[Callable[[], object]], int | None]] = {
    "torch": _torch_peak,
    "numpy": _numpy_peak,
    "unseen": _unseen,
}
