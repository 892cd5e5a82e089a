"""What is kept of a training until it is done: whose it is, and that only one writes it."""

import fcntl
import json
import os
import re
import shutil
import socket

import pytest
import torch

from specctl.errors import ParameterError, StoreError, TrainingError
from specctl.training import Options, Stopped, train_basis
from specctl.transforms import MelSpectrogram
from tests.training.audio import TINY, write_tones


def train(folder, output, *, resume=False, overwrite=False, **changed):
    options = Options(resume=resume, overwrite=overwrite)
    return train_basis(folder, output, options=options, **{**TINY, **changed})


def test_an_option_of_the_wrong_kind_is_named():
    with pytest.raises(ParameterError, match="cache_budget must be a valid integer, .*'1GiB'$"):
        Options(cache_budget="1GiB")
    assert Options(device=torch.device("cpu")) == Options(device="cpu")


@pytest.fixture(scope="module")
def left(tones, tmp_path_factory):
    """The folder of a training that was stopped after its second step; not to be changed."""
    output, seen = tmp_path_factory.mktemp("stopped") / "b", []

    def report(event):
        seen.extend([event] * (event["event"] == "step"))

    with pytest.raises(Stopped):
        train(tones, output, report=report, should_stop=lambda: len(seen) > 1)
    return output.with_name("b.work")


@pytest.fixture
def stopped(left, tmp_path):
    """The output of such a training."""
    shutil.copytree(left, tmp_path / "b.work")
    return tmp_path / "b"


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"overwrite": True}], ids=str)
def test_a_second_training_of_one_output_is_refused_while_the_first_runs(flags, tones, tmp_path):
    said = []

    def report(event):
        if event["event"] != "step" or said:
            return
        with pytest.raises(StoreError) as caught:
            train(tones, tmp_path / "b", **flags)
        said.append(str(caught.value))

    summary = train(tones, tmp_path / "b", report=report)
    assert said == [
        f"another training is running in {tmp_path}/b.work: process {os.getpid()} on "
        f"{socket.gethostname()}; wait for it or stop it"
    ]
    assert len(summary.kept.history) == TINY["epochs"]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_training_that_comes_while_files_are_decoded_is_not_overrun(tones, tmp_path):
    begun = []

    def report(event):
        if event["event"] == "decode" and not begun:
            begun.append(event)
            train(tones, tmp_path / "b")

    with pytest.raises(StoreError, match="already exists; pass --overwrite to replace it"):
        train(tones, tmp_path / "b", report=report)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_another_training_begins_where_a_killed_one_has_only_a_lock(tones, tmp_path):
    (tmp_path / "b.work").mkdir()
    (tmp_path / "b.work" / "lock").write_text("process 1 on nowhere\n")
    (tmp_path / "b.work" / "job.json.tmp-1").write_text("{")
    train(tones, tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_folder_of_something_else_is_left_alone(tones, tmp_path):
    (tmp_path / "b.work").mkdir()
    (tmp_path / "b.work" / "mine").write_text("mine")
    with pytest.raises(StoreError, match="b.work is in the way; it is no folder of a training"):
        train(tones, tmp_path / "b", overwrite=True)
    assert os.listdir(tmp_path / "b.work") == ["mine"]


def test_a_lock_without_a_name_is_one_all_the_same(stopped, tones):
    path = stopped.with_name("b.work") / "lock"
    path.write_text("")
    with path.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="running in .*: a process that is not known; wait"):
            train(tones, stopped, resume=True)
    assert train(tones, stopped, resume=True).output == stopped


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"lr": 0.5}, "another lr (there 0.01, here 0.5); resume"),
        ({"train": ("basis", "mel")}, "another train (there basis, here basis,mel); resume"),
        ({"n_mels": 9, "epochs": 6}, "another epochs (there 5, here 6) and n_mels (there 8, here"),
        (
            {"lr": 0.5, "seed": 1, "crop": 0.09, "epochs": 6, "batch_size": 4},
            "batch_size (there 5, here 4) and lr (there 0.01, here 0.5) and crop (there 0.08, "
            "here 0.09) and 1 more; resume",
        ),
    ],
)
def test_a_resumed_training_with_other_settings_names_them(changed, text, stopped, tones):
    with pytest.raises(TrainingError, match=re.escape(text)):
        train(tones, stopped, resume=True, **changed)


def test_a_resumed_training_with_other_files_says_so(stopped, tmp_path):
    folder = write_tones(tmp_path / "in", n_clips=7)
    with pytest.raises(TrainingError, match="holds a training with another set of files or lab"):
        train(folder, stopped, resume=True)


def test_a_training_that_was_killed_after_writing_its_basis_is_gone_on_with(stopped, tones):
    MelSpectrogram(n_fft=64, n_mels=8).save_basis(stopped)
    with pytest.raises(StoreError, match="holds a training that was stopped; pass --resume to go"):
        train(tones, stopped)
    with pytest.raises(StoreError, match="b already exists; pass --resume --overwrite to go on"):
        train(tones, stopped, resume=True)
    assert len(train(tones, stopped, resume=True, overwrite=True).kept.history) == TINY["epochs"]


def test_how_often_a_training_is_saved_may_change(stopped, tones):
    summary = train(tones, stopped, resume=True, checkpoint_every=1)
    assert len(summary.kept.history) == TINY["epochs"]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"settings": 1, "config": {}}'])
def test_a_damaged_job_is_named(content, stopped, tones):
    path = stopped.with_name("b.work") / "job.json"
    assert json.loads(path.read_text())["processes"] == 1
    path.write_text(content)
    with pytest.raises(TrainingError, match=r"job.json is damaged; train again with --overwrite"):
        train(tones, stopped, resume=True)


def test_other_weights_under_the_name_of_those_begun_with_are_refused(tones, tmp_path):
    start = tmp_path / "start"
    begin = {"init": start, "n_fft": 64, "n_mels": 8}
    transform = MelSpectrogram(sample_rate=8000, n_fft=64, n_mels=8, trainable=("basis",))
    transform.save_basis(start)
    seen = []

    def report(event):
        seen.extend([event] * (event["event"] == "step"))
        if len(seen) == 1:
            start.unlink()

    with pytest.raises(Stopped):
        train(tones, tmp_path / "b", report=report, should_stop=lambda: len(seen) > 1, **begin)
    with torch.no_grad():
        transform.basis.mul_(0.9)
    transform.save_basis(start)
    with pytest.raises(TrainingError, match="another set of weights to begin with; resume it"):
        train(tones, tmp_path / "b", resume=True, **begin)
    with torch.no_grad():
        transform.basis.div_(0.9)


def test_what_cannot_be_finished_is_finished_by_going_on(tones, tmp_path):
    finished = []

    def fail(summary):
        raise StoreError("no room for the page")

    with pytest.raises(StoreError, match="no room for the page"):
        train(tones, tmp_path / "b", finish=fail)
    (tmp_path / "b.work" / "mine").write_text("mine")
    whole = train(tones, tmp_path / "b", resume=True, finish=finished.append)
    assert finished == [whole]
    assert os.listdir(tmp_path / "b.work") == ["mine"]
    (tmp_path / "b.work" / "mine").unlink()
    (tmp_path / "b.work").rmdir()
    other = train(tones, tmp_path / "c")
    assert torch.equal(whole.trained, other.trained)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


@pytest.mark.parametrize("suffix", ["checkpoint", "done"])
def test_a_flipped_bit_in_what_is_gone_on_with_is_found(suffix, tones, tmp_path):
    seen = []

    def report(event):
        seen.extend([event] * (event["event"] == "step" and event["run"] == 1))

    with pytest.raises(Stopped):
        train(tones, tmp_path / "b", runs=2, report=report, should_stop=lambda: len(seen) > 1)
    (path,) = (tmp_path / "b.work").glob(f"*.{suffix}")
    data = bytearray(path.read_bytes())
    for place in range(5, len(data), len(data) // 7):
        data[place] ^= 4
        path.write_bytes(data)
        with pytest.raises(TrainingError, match=f"{suffix} is no checkpoint, or is damaged"):
            train(tones, tmp_path / "b", runs=2, resume=True)
        data[place] ^= 4
    path.write_bytes(data[:-1])
    with pytest.raises(TrainingError, match="remove it, and --resume begins that run again"):
        train(tones, tmp_path / "b", runs=2, resume=True)
    path.unlink()
    whole = train(tones, tmp_path / "b", runs=2, resume=True)
    assert torch.equal(whole.trained, train(tones, tmp_path / "c", runs=2).trained)


def test_no_run_is_one_of_another_seed(tones, tmp_path):
    given = {"runs": 3, "epochs": 1}
    losses = [
        result.test["loss"]
        for seed in range(2)
        for result in train(tones, tmp_path / f"{seed}", seed=seed, **given).results
    ]
    assert len(set(losses)) == len(losses) == 6
