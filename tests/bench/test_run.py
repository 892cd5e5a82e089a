"""A whole run with a clock that only the contenders move."""

import json
from dataclasses import replace
from weakref import WeakSet

import pytest
import torch

from specctl.bench.memory import Memory
from specctl.bench.results import write_json
from specctl.errors import ParameterError
from tests.bench.fakes import Fake, FakeTimer, bench, cell_of

N_FRAMES = 126  # of 2000 samples at hop 16


@pytest.fixture
def timer():
    return FakeTimer()


def test_known_durations_come_out_as_they_are(timer):
    slow, fast = (
        Fake("torch.stft", timer, lambda _: 0.6),
        Fake("specctl-fft", timer, lambda _: 0.2),
    )
    report = bench(timer, slow, fast, rounds=8)
    cell = cell_of(report, "specctl-fft")
    assert cell.samples_s == pytest.approx([0.2] * 8)
    assert cell.ns_per_frame == pytest.approx(0.2e9 / N_FRAMES)
    assert cell.x_real_time == pytest.approx(0.25 / 0.2)
    assert report.ratio(cell, "torch.stft") == pytest.approx(3.0)
    assert cell.keeps_contract and cell.max_db_error < 1e-4
    assert (cell.peak_bytes, cell.peak_rss_bytes) == (1000, 2000)
    assert report.status == "complete"


def test_ratios_are_taken_within_a_round(timer):
    # a machine twice as slow in the second half slows both alike
    def slowing(seconds):
        return lambda call: seconds * (2 if call > 8 else 1)

    report = bench(
        timer,
        Fake("torch.stft", timer, slowing(0.6)),
        Fake("specctl-fft", timer, slowing(0.2)),
        rounds=10,
    )
    assert report.ratio(cell_of(report, "specctl-fft"), "torch.stft") == pytest.approx(3.0)


def test_who_is_wrong_is_not_timed(timer):
    report = bench(timer, Fake("wrong", timer, off_db=0.5), Fake("right", timer))
    cell = cell_of(report, "wrong")
    assert (cell.status, cell.keeps_contract, cell.samples_s) == ("failed", False, [])
    assert cell.ns_per_frame is None
    assert cell.note.startswith("breaks the contract: 0.5 dB off at 0 to -20 dB")
    assert cell.max_db_error == pytest.approx(0.5, abs=1e-3)
    assert cell_of(report, "right").samples_s


def test_who_is_rough_on_purpose_is_timed_and_labelled(timer):
    rough = Fake("rough", timer, off_db=0.5)
    rough.precision = "tf32"
    cell = cell_of(bench(timer, rough), "rough")
    assert cell.status == "ok" and cell.samples_s
    assert cell.keeps_contract is False
    assert cell.note.startswith("tf32: 0.5 dB off")


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (lambda output: output[..., :-1], r"gave \(1, 8, 125\), not \(1, 8, 126\)"),
        (lambda output: output * float("nan"), "gave values that are not finite"),
    ],
    ids=["a frame short", "NaN"],
)
def test_results_that_cannot_be_compared_are_failures(timer, values, note):
    class Odd(Fake):
        def prepare(self, workload):
            prepared = super().prepare(workload)
            object.__setattr__(prepared, "values", values)
            return prepared

    cell = cell_of(bench(timer, Odd("odd", timer)), "odd")
    assert cell.status == "failed"
    assert pytest.approx([]) == cell.samples_s
    import re

    assert re.search(note, cell.note)


@pytest.mark.parametrize("call", [1, 3, 6], ids=["checked", "warmed up", "timed"])
def test_who_raises_is_a_row(timer, call):
    bad = Fake("bad", timer, fails={call: ValueError("no such luck")})
    report = bench(timer, bad, Fake("good", timer), rounds=6)
    cell = cell_of(report, "bad")
    assert (cell.status, cell.note) == ("failed", "ValueError: no such luck")
    assert cell.samples_s == []
    assert bad.is_closed
    assert len(cell_of(report, "good").samples_s) == 6


@pytest.mark.parametrize(
    "problem",
    [
        MemoryError("too much"),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
    ids=["Python", "CUDA", "torch on a CPU"],
)
def test_who_runs_out_of_memory_is_a_row(timer, problem):
    report = bench(timer, Fake("large", timer, fails={4: problem}), Fake("small", timer))
    assert cell_of(report, "large").status == "oom"
    assert cell_of(report, "small").status == "ok"


@pytest.mark.parametrize("call", [1, 3, 6], ids=["checked", "warmed up", "timed"])
def test_memory_is_given_back_once_nothing_is_left_of_who_ran_out_of_it(call, timer, monkeypatch):
    held, n_left = WeakSet(), []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: n_left.append(len(held)))

    class Greedy(Fake):
        def prepare(self, workload):
            prepared = super().prepare(workload)

            def forward(waveform):
                on_device = torch.zeros(1)
                held.add(on_device)
                if self.n_calls + 1 == call:
                    raise torch.cuda.OutOfMemoryError("CUDA out of memory")
                return prepared.forward(waveform)

            return replace(prepared, forward=forward)

    report = bench(timer, Greedy("greedy", timer), Fake("modest", timer), rounds=6)
    assert cell_of(report, "greedy").status == "oom"
    assert set(n_left) == {0}


def test_who_is_not_installed_is_a_row_with_the_cure(timer):
    class Absent(Fake):
        modules = ("no_such_module_at_all",)
        install = "pip install it"

    cell = cell_of(bench(timer, Absent("absent", timer)), "absent")
    assert (cell.status, cell.note) == (
        "unsupported",
        "no_such_module_at_all is not installed; pip install it",
    )


def test_who_does_not_load_is_a_row(timer, tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("raise OSError('libfoo.so: wrong symbol\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)

    class Broken(Fake):
        modules = ("broken_library",)

    cell = cell_of(bench(timer, Broken("broken", timer)), "broken")
    assert cell.note == "broken_library does not load here: libfoo.so: wrong symbol"


def test_who_cannot_do_a_work_is_a_row(timer):
    cell = cell_of(bench(timer, Fake("fake", timer), works=("train",)), "fake")
    assert (cell.status, cell.note) == ("unsupported", "has no basis to train")


def test_who_runs_out_of_memory_when_asked_what_it_can_do_is_a_row(timer):
    class Greedy(Fake):
        def unsupported(self, workload):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    report = bench(timer, Greedy("greedy", timer), Fake("modest", timer))
    assert cell_of(report, "greedy").status == "oom"
    assert cell_of(report, "modest").status == "ok"


def test_ctrl_c_keeps_what_was_measured(timer, tmp_path):
    path = tmp_path / "out.json"
    stopping = Fake("second", timer, fails={8: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        bench(timer, Fake("first", timer), stopping, rounds=20, save=write_json(path))
    found = json.loads(path.read_text())
    assert found["status"] == "stopped"
    assert [len(cell["samples_s"]) for cell in found["cells"]] == [5, 4]
    assert stopping.is_closed


def test_is_saved_after_every_cell(timer):
    known = []

    def save(report):
        known.append([(cell.contender, len(cell.samples_s)) for cell in report.cells])

    bench(timer, Fake("first", timer), Fake("second", timer), rounds=4, save=save)
    assert known[:4] == [
        [("first", 0)],
        [("first", 0), ("second", 0)],
        [("first", 2), ("second", 2)],
        [("first", 4), ("second", 4)],
    ]


def test_what_does_not_fit_the_budget_is_named(timer):
    report = bench(timer, Fake("slow", timer, lambda _: 30.0), budget=70.0, sweep="seconds",
                   seconds=None)  # fmt: skip
    assert report.status == "out of time"
    assert any("100 s" in text and "no time left" in text for text in report.skipped)
    assert cell_of_first(report).note == "no time left for memory; give a larger --budget"


def test_nobody_new_is_begun_after_the_budget(timer):
    slow = [Fake(name, timer, lambda _: 30.0) for name in ("first", "second", "third", "last")]
    report = bench(timer, *slow, budget=50.0)
    assert [cell.contender for cell in report.cells] == ["first", "second"]
    # who has begun is compared all the same
    assert [len(cell.samples_s) for cell in report.cells] == [4, 4]
    assert report.status == "out of time"
    left_out = "mel, log-mel: n_fft 64, hop 16, 8 mels, 8000 Hz, 1 × 0.25 s, cpu, 1 thread"
    assert report.skipped == [f"{left_out}: no time left for third, last"]
    assert report.to_dict()["elapsed_s"] == 420.0
    (text,) = [each for each in report.doubts if "budget" in each and "took" in each]
    assert text == (
        "it took 420 s, with a --budget of 50 s: whoever has begun is checked and timed four "
        "times; give a larger --budget or fewer --contenders"
    )


def test_a_check_that_takes_longer_than_the_budget_does_not_say_that_it_timed(timer):
    slow = Fake("slow", timer, lambda _: 30.0)
    report = bench(timer, slow, budget=10.0, verify=True)
    (text,) = [each for each in report.doubts if "took" in each]
    assert "whoever has begun is checked; give a larger" in text


def test_a_run_within_its_budget_is_not_doubted(timer):
    report = bench(timer, Fake("fast", timer, lambda _: 1.0), budget=100.0, rounds=8)
    assert report.status == "complete"
    assert not [each for each in report.doubts if "budget" in each]


def test_verify_says_which_kernels_it_had_no_time_for(timer):
    slow = [Fake(f"specctl-{name}", timer, lambda _: 30.0) for name in ("fft", "conv")]
    report = bench(timer, *slow, budget=20.0, verify=True)
    assert report.status == "out of time"
    assert report.skipped[0].endswith("no time left for specctl-conv")
    assert [cell.contender for cell in report.cells] == ["specctl-fft"]


def cell_of_first(report):
    return report.cells[0]


def test_the_time_of_a_workload_ends_with_its_share(timer):
    report = bench(timer, Fake("slow", timer, lambda _: 1.0), budget=30.0, rounds=1000)
    assert 6 < len(report.cells[0].samples_s) < 30


def test_verify_times_nobody(timer):
    fake = Fake("specctl-fft", timer)
    report = bench(timer, fake, works=("mel", "stft"), verify=True)
    assert [cell.samples_s for cell in report.cells] == [[]] * 3
    assert all(cell.keeps_contract for cell in report.cells)
    assert fake.n_calls == 3


def test_memory_is_measured_once_for_all_threads(timer):
    asked = []

    def memory(contender, workload, timeout):
        asked.append(workload.threads)
        return Memory(7)

    report = bench(timer, Fake("fake", timer), threads="both", memory=memory)
    assert len(asked) == 1
    assert {cell.peak_bytes for cell in report.cells} == {7}


def test_a_process_for_memory_that_fails_is_a_note(timer):
    report = bench(timer, Fake("fake", timer), memory=lambda *_: Memory(problem="it died"))
    cell = cell_of(report, "fake")
    assert (cell.status, cell.note, cell.peak_bytes) == ("ok", "it died", None)


def test_a_gpu_that_is_not_there_is_refused(timer, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ParameterError, match="'cuda:2' is not here; this machine has cpu, cuda:0"):
        bench(timer, device="cuda:2")


def test_cuda_is_refused_where_there_is_none(timer, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match="device 'cuda' is not here; this machine has cpu$"):
        bench(timer, device="cuda")
    report = bench(timer, device="auto")
    assert report.skipped == ["no CUDA device here: nothing was measured on a GPU"]
