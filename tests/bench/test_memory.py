import sys
from dataclasses import replace

import pytest

from specctl.bench.contenders import find_contender
from specctl.bench.memory import _numpy_peak, _torch_peak, measure_apart
from specctl.bench.workload import Workload

MEGA = 2**20
# libraries and pages come and go with a process
SLACK = 0.35


def workload(work, n_mels=20):
    output = "complex" if n_mels is None else "log-mel"
    return Workload(work, output, 8000, 256, 64, n_mels, 1, 60.0, "cpu", 1)


def test_torch_is_asked_for_the_most_it_held_at_once():
    import torch

    def run():
        for _ in range(3):
            torch.zeros(4 * MEGA, dtype=torch.uint8)
        return torch.zeros(2 * MEGA, dtype=torch.uint8)

    assert _torch_peak(run) == pytest.approx(4 * MEGA, rel=0.01)


def test_numpy_is_asked_for_the_most_it_held_at_once():
    import numpy as np

    def run():
        for _ in range(3):
            np.zeros(4 * MEGA, dtype=np.uint8)
        return np.zeros(2 * MEGA, dtype=np.uint8)

    assert _numpy_peak(run) == pytest.approx(4 * MEGA, rel=0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
@pytest.mark.parametrize("name", ["torch.stft", "librosa"])
def test_a_complex_spectrum_takes_at_least_itself(name):
    asked = workload("stft", None)
    spectrum = 8 * 129 * asked.n_frames
    memory = measure_apart(find_contender(name, "fp32", "cpu"), asked, 120)
    assert memory.problem is None
    assert memory.peak_bytes >= spectrum
    assert memory.peak_rss_bytes >= spectrum * (1 - SLACK)
    assert memory.peak_bytes < 8 * spectrum


def test_a_training_step_keeps_its_frames():
    asked = workload("train")
    contender = find_contender("torchlibrosa", "fp32", "cpu")
    if contender.missing():
        pytest.skip(contender.missing())
    memory = measure_apart(contender, asked, 120)
    # real and imaginary parts are kept for the way back
    assert memory.peak_bytes > 2 * 4 * 129 * asked.n_frames


def test_what_fails_in_the_process_is_said():
    class Odd:
        name, precision = "nobody", "fp32"

    memory = measure_apart(Odd(), workload("mel"), 120)
    assert memory.peak_bytes is None
    assert memory.problem == "memory: ParameterError: there is no contender 'nobody' in 'fp32'"


def test_a_process_that_takes_too_long_is_given_up():
    memory = measure_apart(find_contender("torch.stft", "fp32", "cpu"), workload("mel"), 0.0)
    assert memory.problem == "memory was not measured in time"


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
@pytest.mark.parametrize(
    "name", ["specctl-conv", pytest.param("torchlibrosa", marks=pytest.mark.thorough)]
)
def test_what_several_threads_take_is_seen(name):
    asked = replace(workload("train"), batch=4, threads=2)
    contender = find_contender(name, "fp32", "cpu")
    if contender.missing():
        pytest.skip(contender.missing())
    memory = measure_apart(contender, asked, 120)
    assert memory.problem is None
    if name == "torchlibrosa":
        # real and imaginary parts of all frames, shared out among threads or not
        alone = measure_apart(contender, replace(asked, threads=1), 120)
        assert memory.peak_bytes == pytest.approx(alone.peak_bytes, rel=SLACK)
    # the gradient in the result, at least
    assert memory.peak_bytes >= 4 * 20 * asked.n_frames
    assert memory.peak_rss_bytes >= memory.peak_bytes * (1 - SLACK)
