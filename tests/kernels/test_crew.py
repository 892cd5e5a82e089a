"""Tasks side by side: their results, their errors, and what they leave of torch's settings."""

import os
import signal
import sys
import threading
import time
from functools import partial

import pytest
import torch

from specctl.kernels.crew import rest_others, side_by_side
from specctl.transforms import MelSpectrogram
from tests.dsp.signals import noise

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def n_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_tasks(n_threads):
    tasks = [partial(pow, number, 2) for number in range(50)]
    assert side_by_side(tasks, CPU) == [number**2 for number in range(50)]
    assert side_by_side([], CPU) == []


def test_as_many_tasks_run_at_once_as_torch_has_threads(n_threads):
    # each waits for all the others
    barrier = threading.Barrier(n_threads, timeout=10)
    side_by_side([barrier.wait] * n_threads, CPU)


def test_a_task_has_one_thread_and_records_no_gradients(n_threads):
    weight = torch.ones(3, requires_grad=True)

    def task():
        return torch.get_num_threads(), (2 * weight).requires_grad

    found = side_by_side([task] * 4, CPU)
    assert found == [(1, False)] * 4


def test_the_number_of_threads_of_others_stays(n_threads):
    side_by_side([lambda: None] * 4, CPU)
    assert torch.get_num_threads() == n_threads
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [n_threads]


def test_the_error_of_a_task_is_raised_and_the_next_call_works(n_threads):
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        side_by_side([lambda: 1, fail, *[lambda: 2] * 20], CPU)
    assert side_by_side([lambda: 3] * 3, CPU) == [3, 3, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own(n_threads):
    side_by_side([lambda: None] * 4, CPU)
    child = os.fork()
    if child == 0:
        found = side_by_side([lambda: 7] * 4, CPU)
        os._exit(0 if found == [7] * 4 else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_threads_of_other_operations_end_and_come_back(n_threads):
    def n_alive():
        return len(os.listdir("/proc/self/task"))

    large = torch.ones(10**6)
    rest_others(CPU)
    before = n_alive()
    for _ in range(3):
        assert float(large.mul(2.0).sum()) == 2e6
        if n_alive() == before and n_threads > 1:
            pytest.skip("torch has no OpenMP threads here")
        rest_others(CPU)
        for _ in range(200):
            if n_alive() == before:
                break
            # the system lists a thread a little longer than those who wait for its end do
            time.sleep(0.01)
        assert n_alive() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_wait_for_threads_it_does_not_have(n_threads):
    assert float(torch.ones(10**6).mul(2.0).sum()) == 2e6
    child = os.fork()
    if child == 0:
        rest_others(CPU)
        os._exit(0)
    for _ in range(200):
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("hop_length", [100, 64, 70])
def test_a_step_is_the_same_to_the_last_bit_each_time(hop_length, n_threads):
    waveform = noise(3, 30_000)
    gradients = []
    for _ in range(2):
        transform = MelSpectrogram(
            sample_rate=8000,
            n_fft=256,
            hop_length=hop_length,
            n_mels=20,
            trainable=("basis", "mel"),
        )
        transform(waveform).square().mean().backward()
        gradients.append((transform.basis.grad, transform.mel.grad))
    for first, second in zip(*gradients, strict=True):
        assert torch.equal(first, second)
