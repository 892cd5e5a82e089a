import pytest
import torch

from specctl.bench.timing import Runner, Taken, copy_bandwidth, n_threads, race
from tests.bench.fakes import FakeTimer

INPUTS = [torch.zeros(1), torch.ones(1), torch.full((1,), 2.0)]


def taking(timer, seconds, seen=None):
    def call(waveform):
        if seen is not None:
            seen.append(float(waveform))
        timer.seconds += seconds

    return Runner(call)


def test_a_sample_is_the_time_of_one_call():
    timer = FakeTimer()
    runner = taking(timer, 0.25)
    runner.n_calls = 4
    race([runner], INPUTS, timer, rounds=3, seconds=100)
    assert runner.samples == pytest.approx([0.25] * 3)
    assert runner.processor_share == pytest.approx([1.0] * 3)


def test_short_calls_are_timed_many_at_once():
    timer = FakeTimer()
    runner = taking(timer, 0.001)
    runner.warm_up(INPUTS, timer, "cpu")
    assert runner.n_calls == 20


def test_inputs_are_rotated_from_call_to_call():
    timer, seen = FakeTimer(), []
    race([taking(timer, 1.0, seen)], INPUTS, timer, rounds=5, seconds=100)
    assert seen == [0.0, 1.0, 2.0, 0.0, 1.0]


def test_contenders_take_turns_and_each_round_begins_with_another():
    timer, order = FakeTimer(), []
    runners = [Runner(lambda _, name=name: order.append(name)) for name in "abc"]
    race(runners, INPUTS, timer, rounds=3, seconds=100)
    assert "".join(order) == "abcbcacab"


def test_no_round_begins_when_time_is_up_but_for_the_least():
    timer = FakeTimer()
    runner = taking(timer, 10.0)
    race([runner], INPUTS, timer, rounds=50, seconds=35)
    assert len(runner.samples) == 4
    race([runner], INPUTS, timer, rounds=50, seconds=0)
    assert len(runner.samples) == 6


def test_who_raises_is_out_and_the_others_go_on():
    timer = FakeTimer()

    def fail(_):
        raise ValueError("no")

    bad, good = Runner(fail), taking(timer, 1.0)
    race([bad, good], INPUTS, timer, rounds=3, seconds=100)
    assert isinstance(bad.problem, ValueError)
    assert (len(bad.samples), len(good.samples)) == (0, 3)


def test_a_copy_is_read_and_written(monkeypatch):
    class Second:
        def time(self, run):
            run()
            return Taken(0.5)

    monkeypatch.setattr("specctl.bench.timing._COPY_BYTES", {"cpu": 4000})
    assert copy_bandwidth("cpu", Second()) == 16000


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with n_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
