"""What may go wrong while a network is trained: numbers, memory, other processes."""

import os
import re
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from specctl.errors import StoreError, TrainingError
from specctl.training import Options, Stopped, job, train_basis
from specctl.training.checkpoint import read_checkpoint, write_checkpoint
from specctl.training.models import Linear
from specctl.transforms.regularisers import (
    distance_from_start,
    norm_penalty,
    orthogonality_penalty,
)
from tests.training.audio import TINY, write_tones

ROOT = Path(__file__).parent.parent.parent


class NanAt(nn.Module):
    """Gives NaN in its so-manieth training step."""

    def __init__(self, n_bins, n_classes, step=4):
        super().__init__()
        self.out = nn.Linear(n_bins, n_classes)
        self.step, self.n_seen = step, 0

    def forward(self, spec):
        self.n_seen += self.training
        logits = self.out(spec.mean(2) / 20)
        return logits * float("nan") if self.training and self.n_seen == self.step else logits


def test_a_loss_that_is_no_number_is_named_and_the_state_before_it_kept(tones, tmp_path):
    with pytest.raises(TrainingError) as caught:
        train_basis(tones, tmp_path / "b", **{**TINY, "model": NanAt})
    text = str(caught.value)
    assert text.startswith("the loss is nan at step 4 of 10; the state before it is in ")
    assert text.endswith("try a lower lr or basis_lr")
    state = read_checkpoint(Path(re.search(r"is in (\S+);", text)[1]))
    assert state["step"] == 3
    assert all(weight.isfinite().all() for weight in state["weights"].values())
    # a model that behaves goes on from there
    summary = train_basis(
        tones,
        tmp_path / "b",
        options=Options(resume=True),
        **{**TINY, "model": _named("NanAt", lambda n, c: NanAt(n, c, step=-1))},
    )
    assert len(summary.results[0].history) == TINY["epochs"]


def test_a_gradient_that_is_no_number_stops_too(tones, tmp_path):
    class Root(nn.Module):
        def __init__(self, n_bins, n_classes):
            super().__init__()
            self.out = nn.Linear(n_bins, n_classes)

        def forward(self, spec):
            # the root of 0 has an infinite slope, and 0 times that is no number
            return self.out(spec.mean(2) / 20) + (spec.mean() * 0).abs().sqrt()

    with pytest.raises(TrainingError, match="a gradient is not finite at step 1 of 10"):
        train_basis(tones, tmp_path / "b", **{**TINY, "model": Root})


@pytest.mark.parametrize("rate", ["lr", "basis_lr"])
def test_a_last_step_that_diverges_is_no_success(rate, tones, tmp_path):
    given = {**TINY, "epochs": 1, "batch_size": 16, rate: 1e30, "warmup": 0.0}
    with pytest.raises(TrainingError) as caught:
        train_basis(tones, tmp_path / "b", **given)
    text = str(caught.value)
    assert text.startswith("the loss is nan on the validation files after step 1 of 1; try a low")
    assert not (tmp_path / "b").exists()


def test_scores_of_test_files_that_are_no_numbers_are_named(tones, tmp_path):
    class NanForTest(NanAt):
        def forward(self, spec):
            self.n_seen += not self.training
            logits = self.out(spec.mean(2) / 20)
            # validation files come once an epoch
            return logits * float("nan") if self.n_seen > TINY["epochs"] else logits

    given = {**TINY, "model": NanForTest, "batch_size": 16}
    with pytest.raises(TrainingError, match="the loss is nan on the test files; try a lower lr"):
        train_basis(tones, tmp_path / "b", **given)


def _named(name, factory):
    factory.__name__ = name
    return factory


class Small(Linear):
    """Has no room for more than eight clips at once."""

    most = 8
    problem = torch.OutOfMemoryError("no room")

    def forward(self, spec, n_frames):
        if len(spec) > self.most:
            raise self.problem
        return super().forward(spec, n_frames)


@pytest.fixture(scope="module")
def more_tones(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("more") / "in", n_clips=28)


# gradients are sums in another order; after six steps of Adam weights of 0.4 differ by as little
ROUNDING = {"rtol": 0, "atol": 2e-5}


CPU_PROBLEM = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 40000800000 bytes. Error code 12 (Cannot allocate memory)"
)


OF_32 = {**TINY, "batch_size": 32, "epochs": 6, "augment": ("noise", "mixup")}


@pytest.fixture(scope="module")
def with_room(more_tones, tmp_path_factory):
    """A training in which memory does not run out."""
    return train_basis(more_tones, tmp_path_factory.mktemp("room") / "b", **OF_32)


@pytest.mark.parametrize(
    "problem",
    [torch.OutOfMemoryError("no room"), CPU_PROBLEM, MemoryError()],
    ids=["cuda", "cpu", "python"],
)
def test_out_of_memory_halves_what_is_computed_at_once_and_changes_nothing(
    problem, with_room, more_tones, tmp_path, monkeypatch
):
    monkeypatch.setattr(Small, "problem", problem)
    events = []
    cut = train_basis(
        more_tones, tmp_path / "cut", report=events.append, **{**OF_32, "model": Small}
    )
    said = [event["clips_at_once"] for event in events if event["event"] == "out of memory"]
    assert said == [16, 8]
    torch.testing.assert_close(with_room.trained, cut.trained, **ROUNDING)
    for one, other in zip(with_room.results[0].history, cut.results[0].history, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-4)


class Watched(Small):
    """Runs out of memory in the backward pass, and counts what is left of such attempts."""

    def __init__(self, *args):
        super().__init__(*args)
        self.attempts, self.left = [], []

    def forward(self, spec, n_frames):
        self.left.append(sum(attempt() is not None for attempt in self.attempts))
        result = Linear.forward(self, spec, n_frames)
        if len(spec) > self.most:
            self.attempts.append(weakref.ref(result))
            result.register_hook(self.fail)
        return result

    def fail(self, _):
        raise self.problem


def test_nothing_of_an_attempt_without_room_is_in_the_way_of_the_next(more_tones, tmp_path):
    made = []
    model = _named("Watched", lambda *args: made.append(Watched(*args)) or made[-1])
    train_basis(more_tones, tmp_path / "b", **{**TINY, "batch_size": 16, "model": model})
    assert [len(each.attempts) for each in made] == [1]
    assert set(made[0].left) == {0}


class Plain(nn.Module):
    """Normalises nothing over several clips; has room for so many at once."""

    def __init__(self, n_bins, n_classes, most):
        super().__init__()
        self.out, self.most = nn.Linear(n_bins, n_classes), most

    def forward(self, spec):
        if len(spec) > self.most:
            raise MemoryError
        return self.out(spec.mean(2) / 20)


def test_clips_that_are_mixed_stay_together_where_memory_runs_out(more_tones, tmp_path):
    given = {**TINY, "batch_size": 12, "epochs": 2, "augment": ("mixup",)}
    whole, cut = (
        train_basis(
            more_tones,
            tmp_path / str(most),
            **{**given, "model": _named("Plain", lambda n, c, most=most: Plain(n, c, most))},
        )
        for most in (12, 3)
    )
    torch.testing.assert_close(whole.trained, cut.trained, **ROUNDING)
    for one, other in zip(whole.results[0].history, cut.results[0].history, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-4)


def test_too_little_memory_for_anything_is_said(more_tones, tmp_path):
    class Smallest(Small):
        most = 0

    with pytest.raises(TrainingError, match="memory must hold 8 clips at once, it does not; give"):
        train_basis(more_tones, tmp_path / "b", **{**TINY, "batch_size": 16, "model": Smallest})


def test_memory_that_smaller_batches_do_not_save_is_one_line(tones, tmp_path, monkeypatch):
    def fail(*args):
        raise CPU_PROBLEM

    monkeypatch.setattr(job, "build_front_end", fail)
    with pytest.raises(TrainingError) as caught:
        train_basis(tones, tmp_path / "b", **TINY)
    assert str(caught.value) == (
        "memory is too small for this training, 40 GB more were wanted; give a shorter crop, a "
        "smaller n_fft or a smaller model"
    )


def test_other_errors_of_a_model_go_through(tones, tmp_path):
    class Wrong(Linear):
        def forward(self, spec, n_frames):
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train_basis(tones, tmp_path / "b", **{**TINY, "model": Wrong})


def environment():
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


KILLED = """
import os, signal, sys, torch
import torch._dynamo  # as the first optimiser does
torch.set_num_threads(1)
from specctl.training import train_basis
from tests.training.audio import TINY
folder, output = sys.argv[1:]
for last in (3, 5, 9):
    def report(event):
        if event["event"] == "step" and event["step"] == last:
            os.kill(os.getpid(), signal.SIGKILL)
    # a process each, all of which have imported what takes seconds
    if (child := os.fork()) == 0:
        train_basis(folder, f"{output}/{last}", report=report, **{**TINY, "checkpoint_every": 3})
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


@pytest.fixture(scope="module")
def killed(tones, tmp_path_factory):
    """Outputs, by their names, of trainings that were killed at that step."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", KILLED, str(tones), str(folder)]
    subprocess.run(command, env=environment(), check=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def whole(tones, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "b"
    return train_basis(tones, output, **{**TINY, "checkpoint_every": 3})


@pytest.mark.parametrize("killed_at", [3, 5, 9])
def test_a_kill_loses_at_most_the_steps_since_the_last_checkpoint(killed_at, whole, tones, killed):
    steps = []
    resumed = train_basis(
        tones,
        killed / f"{killed_at}",
        options=Options(resume=True),
        report=lambda event: steps.append(event.get("step")),
        **{**TINY, "checkpoint_every": 3},
    )
    first = next(step for step in steps if step is not None)
    # the step in which it was killed was done and not yet saved
    assert first == (killed_at - 1) // 3 * 3 + 1
    assert torch.equal(whole.trained, resumed.trained)


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("keep_near", distance_from_start),
        ("unit_norm", norm_penalty),
        ("orthogonality", lambda basis, start: orthogonality_penalty(basis)),
    ],
)
def test_a_penalty_holds_what_it_is_for(name, measure, whole, tones, tmp_path):
    held = train_basis(tones, tmp_path / "b", **{**TINY, name: 10})
    assert measure(held.trained, held.start) < measure(whole.trained, whole.start)


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.system, ("true",))

    torch.save({"step": 1, "bomb": Bomb()}, tmp_path / "c")
    with pytest.raises(TrainingError, match="is no checkpoint, or is damaged"):
        read_checkpoint(tmp_path / "c")


def test_the_random_numbers_of_the_process_are_left_alone(tones, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_basis(tones, tmp_path / "b", **TINY)
    assert torch.equal(torch.rand(3), expected)


def test_stopping_in_the_last_step_ends_as_usual(tones, tmp_path):
    seen = []
    summary = train_basis(
        tones,
        tmp_path / "b",
        report=seen.append,
        should_stop=lambda: bool(seen) and seen[-1].get("step") == 10,
        **TINY,
    )
    assert len(summary.results) == 1


def test_stopping_while_files_are_decoded(tones, tmp_path):
    with pytest.raises(Stopped, match="before the first step"):
        train_basis(tones, tmp_path / "b", should_stop=lambda: True, **TINY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("budget", "share"), [(6 * 2**30, 0.25), (2**40, 1.0)])
def test_a_budget_of_device_memory_bounds_what_the_process_may_take(budget, share, monkeypatch):
    said = []
    card = SimpleNamespace(total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *given: said.append(given)
    )
    device = torch.device("cuda", 1)
    job.limit_memory(Options(vram_budget=budget), device)
    assert said == [(share, device)]
    job.limit_memory(Options(), device)
    assert len(said) == 1


def test_a_checkpoint_that_cannot_be_written_says_how_to_go_on(tmp_path):
    with pytest.raises(StoreError, match=r"cannot write .*; mend that and go on with --resume"):
        write_checkpoint(tmp_path / "none" / "c", {"step": 1})
