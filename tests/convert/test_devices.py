"""How many workers a GPU gets, and what they say, as far as it shows where there is none."""

from collections import Counter, deque
from dataclasses import replace

import pytest
import torch

from specctl import convert_audio
from specctl.convert import Control, Options, compute_torch, parts, planning, work
from specctl.convert.devices import most_workers
from specctl.convert.early import PRELOAD
from specctl.convert.executors import InProcess, Task
from specctl.convert.jobs import Description, PartJob
from specctl.convert.pool import Pool
from specctl.convert.settings import GivenSettings
from specctl.errors import KernelError, ParameterError
from tests.convert.audio_files import RATE, corpus

STFT = {"n_fft": 512, "hop_length": 100, "n_mels": 20}
GIB = 2**30


@pytest.mark.parametrize(("free", "wanted"), [((139,), 104), ((8,), 6), ((1,), 1), ((24, 4), 6)])
def test_gpus_get_as_many_workers_as_they_have_room_for(free, wanted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda at: (free[at.index] * GIB, 200 * GIB))
    assert most_workers([f"cuda:{index}" for index in range(len(free))]) == wanted


def test_a_cpu_is_not_asked_for_room():
    assert most_workers(("cpu",)) is None


@pytest.mark.parametrize(("workers", "used"), [(None, 1), (2, 2)])
def test_only_a_number_that_was_not_given_is_lowered(workers, used, tmp_path, monkeypatch):
    describe = planning.describe
    monkeypatch.setattr(
        planning, "describe", lambda *given: replace(describe(*given), most_workers=1)
    )
    monkeypatch.setattr("specctl.convert.request.usable_cores", lambda: 2)
    folder = corpus(tmp_path / "in", 3)
    summary = convert_audio(folder, tmp_path / "o.h5", options=Options(workers=workers), **STFT)
    assert summary.workers == used


@pytest.mark.parametrize("workers", [0, 1])
def test_a_process_works_on_one_device_and_says_so(workers, tmp_path, monkeypatch):
    describe, devices = planning.describe, ("cpu", "another")
    monkeypatch.setattr(
        planning, "describe", lambda *given: replace(describe(*given), devices=devices)
    )
    folder = corpus(tmp_path / "in", 3)
    summary = convert_audio(folder, tmp_path / "o.h5", options=Options(workers=workers), **STFT)
    assert summary.devices == ("cpu",)


@pytest.mark.parametrize(("n_workers", "n_each"), [(1, [1, 1]), (3, [2, 1]), (4, [2, 2])])
def test_all_workers_that_were_asked_for_are_dealt_out_to_the_devices(n_workers, n_each):
    with Pool(("cuda:0", "cuda:1"), n_workers, PRELOAD) as pool:
        assert pool.n_workers == sum(n_each)
        tasks = deque(Task(number, str, ()) for number in range(pool.n_workers))
        outcomes = list(pool.run(tasks, Control(), lambda: ()))
    devices = Counter(outcome.value for outcome in outcomes)
    assert [devices["cuda:0"], devices["cuda:1"]] == n_each


def test_the_room_of_a_device_is_shared_by_the_most_workers_that_one_gets(tmp_path, monkeypatch):
    describe, devices = planning.describe, ("cpu", "cpu")
    monkeypatch.setattr(
        planning, "describe", lambda *given: replace(describe(*given), devices=devices)
    )
    shares = []

    def job(**given):
        shares.append(given["n_sharing"])
        return PartJob(**given)

    monkeypatch.setattr(parts, "PartJob", job)
    folder = corpus(tmp_path / "in", 3)
    convert_audio(folder, tmp_path / "o.h5", options=Options(workers=3), **STFT)
    assert {*shares} == {2}


@pytest.mark.parametrize(("device", "n_asked"), [("cpu", 5), ("cuda", 1)])
def test_workers_that_others_take_the_place_of_are_not_warmed(device, n_asked, monkeypatch):
    asked = []

    def replies(_, tasks, *_others):
        asked.extend(tasks)
        return [Description((device,), "fft", "")]

    monkeypatch.setattr(planning, "replies", replies)
    options = Options(device=device, workers=5)
    planning.describe(InProcess(), GivenSettings(STFT), options, Control(), lambda _: None)
    assert len(asked) == n_asked


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("out of memory", "cuda:1 has not enough memory for 16 workers; give fewer with --wor"),
        ("CUDA-capable device(s) is/are busy or unavailable", "cuda:1 is busy, or takes one p"),
    ],
)
def test_a_gpu_without_room_for_its_workers_is_one_line(said, line, monkeypatch):
    def full(*_):
        raise RuntimeError(f"CUDA error: {said}\nCUDA kernel errors might be reported")

    monkeypatch.setattr(compute_torch, "torch_transform", full)
    config = GivenSettings(STFT).resolve(RATE)
    with pytest.raises(KernelError, match=f"^{line}"):
        compute_torch.torch_computer(config, "cuda:1", "fft", None, None, 16)


def test_a_machine_of_a_cluster_without_the_gpu_of_others_is_one_line(monkeypatch):
    monkeypatch.setattr("specctl.convert.devices._n_cuda_devices", lambda: 0)
    config = GivenSettings(STFT).resolve(RATE)
    with pytest.raises(ParameterError, match="^device 'cuda:0' is not on this machine; here: cpu"):
        work._computer(config, "cuda:0", "fft", None, None, 1)


def test_a_gpu_that_another_process_has_to_itself_is_one_line(monkeypatch):
    def refused(*_):
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable")

    monkeypatch.setattr(torch.cuda, "mem_get_info", refused)
    with pytest.raises(KernelError, match="^cuda:0, cuda:1 is busy"):
        most_workers(("cuda:0", "cuda:1"))
