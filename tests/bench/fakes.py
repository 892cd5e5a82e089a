"""Contenders that take a time that is known, on a clock that only they move."""

import torch

from specctl.bench import Request
from specctl.bench.contenders.base import Contender, Prepared, as_given
from specctl.bench.memory import Memory
from specctl.bench.run import Hooks, run_bench
from specctl.bench.timing import Taken
from specctl.dsp.reference import reference_spectrogram

SMALL = {
    "sample_rate": 8000,
    "n_fft": 64,
    "hop_length": 16,
    "n_mels": 8,
    "seconds": 0.25,
    "device": "cpu",
    "threads": "1",
}


class FakeTimer:
    """A clock that stands still unless a fake contender works."""

    def __init__(self):
        self.seconds = 0.0

    def time(self, run):
        before = self.seconds
        run()
        return Taken(self.seconds - before, self.seconds - before)

    def now(self):
        return self.seconds


class Fake(Contender):
    """Gives the right numbers and takes what it is told.

    Parameters
    ----------
    takes : callable
        Number of the call to seconds.
    off_db : float
        What is added to every value.
    fails : dict
        Number of the call to the exception that it raises.
    """

    def __init__(self, name, timer, takes=lambda call: 0.5, *, off_db=0.0, fails=None):
        self.name = name
        self.timer = timer
        self.takes = takes
        self.off_db = off_db
        self.fails = fails or {}
        self.n_calls = 0
        self.is_closed = False

    def prepare(self, workload):
        config = workload.config()

        spec = None

        def forward(waveform):
            nonlocal spec
            self.n_calls += 1
            if self.n_calls in self.fails:
                raise self.fails[self.n_calls]
            self.timer.seconds += self.takes(self.n_calls)
            if spec is None:  # only the first batch is compared
                dtype = torch.complex64 if config.is_complex else torch.float32
                spec = reference_spectrogram(waveform, config).to(dtype) + self.off_db
            return spec

        def close():
            self.is_closed = True

        return Prepared(forward, as_given, config, close=close)


def bench(timer, *contenders, memory=None, save=None, **request):
    """A run of fake contenders."""
    hooks = Hooks(
        timer=timer,
        contenders=contenders,
        bandwidth=lambda device, timer: 1e9,
        memory=memory or (lambda *_: Memory(1000, 2000)),
        save=save or (lambda report: None),
    )
    return run_bench(Request(**{**SMALL, "budget": 1e6, **request}), hooks)


def cell_of(report, name):
    (cell,) = [cell for cell in report.cells if cell.contender == name]
    return cell
