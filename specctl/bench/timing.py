"""What a call costs: contenders take turns, so that a slow moment falls on all alike."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

_SAMPLE_SECONDS = 0.02
"""A sample is of as many calls as last this long together."""

_MOST_CALLS = 200
_LEAST_ROUNDS = 2
_WARM_UP_CALLS = {"cpu": 2, "cuda": 10}
"""On CUDA plans are made, algorithms chosen and clocks raised in the first calls."""


_COPY_BYTES = {"cpu": 2**27, "cuda": 2**30}


class Taken(NamedTuple):
    """Wall time, and processor time of this process where it means anything; in seconds."""

    seconds: float
    processor_seconds: float | None = None


class Timer(Protocol):
    """Whatever can say how long something took."""

    def time(self, run: Callable[[], object]) -> Taken:
        """Run once."""

    def now(self) -> float:
        """Seconds that only grow, for budgets."""


class WallTimer:
    """For work that is done when the call returns."""

    def time(self, run: Callable[[], object]) -> Taken:
        """Run once."""
        processor, wall = time.process_time(), time.perf_counter()
        run()
        return Taken(time.perf_counter() - wall, time.process_time() - processor)

    def now(self) -> float:
        """Seconds that only grow."""
        return time.perf_counter()


class CudaTimer(WallTimer):
    """For work that a stream does: events before and after, then waiting for them."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def time(self, run: Callable[[], object]) -> Taken:
        """Run once."""
        with torch.cuda.device(self._device):
            before, after = (_event() for _ in range(2))
            torch.cuda.synchronize()
            before.record()
            run()
            after.record()
            torch.cuda.synchronize()
        return Taken(before.elapsed_time(after) / 1e3)


def _event() -> Any:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def timer_for(device: str) -> Timer:
    """The timer that tells the truth on this device."""
    return WallTimer() if device == "cpu" else CudaTimer(device)


@dataclass
class Runner:
    """One contender in a race: what is called, and what its calls took."""

    call: Callable[[Tensor], object]
    n_calls: int = 1
    samples: list[float] = field(default_factory=list)  # seconds of one call
    processor_share: list[float] = field(default_factory=list)  # cores kept busy
    problem: BaseException | None = None
    position: int = 0

    def sample(self, inputs: Sequence[Tensor], timer: Timer) -> None:
        """One sample: ``n_calls`` calls, each on the next input."""

        def run() -> None:
            for _ in range(self.n_calls):
                self.call(inputs[self.position % len(inputs)])
                self.position += 1

        taken = timer.time(run)
        self.samples.append(taken.seconds / self.n_calls)
        if taken.processor_seconds is not None and taken.seconds > 0:
            self.processor_share.append(taken.processor_seconds / taken.seconds)

    def warm_up(self, inputs: Sequence[Tensor], timer: Timer, device: str) -> None:
        """Call until nothing is new any more, and see how many calls a sample needs."""
        kind = "cpu" if device == "cpu" else "cuda"
        for _ in range(_WARM_UP_CALLS[kind] - 1):
            self.call(inputs[0])
        taken = timer.time(lambda: self.call(inputs[-1]))
        wanted = math.ceil(_SAMPLE_SECONDS / max(taken.seconds, 1e-9))
        self.n_calls = max(1, min(_MOST_CALLS, wanted))


def race(
    runners: Sequence[Runner],
    inputs: Sequence[Tensor],
    timer: Timer,
    *,
    rounds: int,
    seconds: float,
) -> None:
    """Sample everybody once a round, each round beginning with another.

    Parameters
    ----------
    inputs : sequence of Tensor
        Rotated from call to call, so that nobody finds its audio in the cache.
    rounds : int
        Samples of each.
    seconds : float
        No round is begun after so long, but for the first two.

    Notes
    -----
    Who raises is out of the race, with the exception in ``problem``.
    """
    ends = timer.now() + seconds
    for number in range(rounds):
        if number >= _LEAST_ROUNDS and timer.now() > ends:
            return
        for runner in _rotated(runners, number):
            if runner.problem is None:
                try:
                    runner.sample(inputs, timer)
                except Exception as problem:  # one of many may fail; it is recorded
                    # its frames would keep what they allocated
                    runner.problem = problem.with_traceback(None)


def copy_bandwidth(device: str, timer: Timer) -> float:
    """Bytes per second of a copy too large for any cache, read and written; the best of a few."""
    source = torch.ones(_COPY_BYTES["cpu" if device == "cpu" else "cuda"] // 4, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    moved = 2 * source.nbytes
    return moved / min(timer.time(lambda: target.copy_(source)).seconds for _ in range(5))


@contextmanager
def n_threads(number: int) -> Iterator[None]:
    """Bound the threads of torch and of the libraries behind numpy."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        with threadpool_limits(number):
            yield
    finally:
        torch.set_num_threads(before)


def _rotated(runners: Sequence[Runner], by: int) -> list[Runner]:
    by %= max(1, len(runners))
    return [*runners[by:], *runners[:by]]
