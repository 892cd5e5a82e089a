"""``torchrun … specctl train-basis``: two processes that train as one."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from specctl.basis import load_basis
from specctl.cli.commands import app
from specctl.training import train_basis
from specctl.training.checkpoint import read_checkpoint
from tests.training.audio import write_tones
from tests.training.conftest import one_thread  # noqa: F401 - sums are in the order of one

BIN = Path(sys.executable).parent
TORCHRUN = (BIN / "torchrun", "--standalone", "--nproc-per-node", 2, BIN / "specctl")
GIVEN = {"n_fft": 64, "n_mels": 16, "crop": 0.08, "model": "cnn", "lr": 0.001, "batch_size": 32}
SETTINGS = (
    *(f"--{name.replace('_', '-')}={value}" for name, value in GIVEN.items()),
    *("--augment", "noise", "--augment", "mixup", "--device", "cpu", "--runs", 1, "--no-verdict"),
)
LONG = ("train-basis", *SETTINGS, "--epochs", 5000, "--checkpoint-every", 5)
# gradients are sums in another order; after six steps of Adam weights of 0.4 differ by as little
ROUNDING = {"rtol": 0, "atol": 2e-5}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


# an interpreter imports it before all else
LATE = """
import os, time
time.sleep(1.5 if os.environ.get("RANK") == "0" else 0)
"""


def start(*command, cwd, env=ENVIRONMENT):
    return subprocess.Popen(
        [*map(str, command)],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(*command, cwd, env=ENVIRONMENT):
    """Exit code and what specctl said, without what torchrun adds."""
    process = start(*command, cwd=cwd, env=env)
    stdout, stderr = process.communicate(timeout=120)
    assert stdout == ""
    return process.returncode, [line for line in stderr.splitlines() if "specctl:" in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("two") / "in", n_clips=28)


def rank_of(pid):
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(int(each[5:]) for each in environment if each.startswith(b"RANK="))


def ranks(process):
    """Process ids of both, in order."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return sorted(map(int, children), key=rank_of)


def wait_for_steps(metrics, n_steps, process):
    while not (metrics.exists() and len(steps(metrics)) >= n_steps):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


def epochs(metrics):
    events = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [each for each in events if each["event"] == "epoch"]


def steps(metrics):
    # the last line may be half written
    whole = metrics.read_text().rpartition("\n")[0]
    events = [json.loads(line) for line in whole.splitlines()]
    return [each["step"] for each in events if each["event"] == "step"]


def variables(rank):
    """What torchrun sets."""
    return {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}


def test_two_processes_give_the_basis_of_one(folder, tmp_path):
    """Of 36 training clips a batch is of 32: two processes have two groups of eight each."""
    given = (BIN / "specctl", "train-basis", folder, *SETTINGS, "--epochs", 6)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    both = [
        start(*given, "b", "--metrics", "m", cwd=tmp_path, env={**ENVIRONMENT, **address, **rank})
        for rank in map(variables, range(2))
    ]
    augment = {"augment": ("noise", "mixup"), "runs": 1, "verdict": False}
    alone = train_basis(folder, tmp_path / "alone", epochs=6, **GIVEN, **augment)
    for process in both:
        assert process.communicate(timeout=120)[0] == ""
        assert process.returncode == 0
    two = torch.from_numpy(load_basis(tmp_path / "b").basis)
    torch.testing.assert_close(two, alone.trained, **ROUNDING)
    assert (alone.trained - alone.start).abs().max() > 50 * ROUNDING["atol"]
    one, two = alone.kept.history, epochs(tmp_path / "m")
    assert len(one) == 6
    for a, b in zip(one, two, strict=True):
        for name in ("train_loss", "validation_loss", "validation_accuracy"):
            assert a[name] == pytest.approx(b[name], abs=1e-3)
    assert {path.name for path in tmp_path.iterdir()} == {"alone", "b", "m"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--batch-size", 1), "specctl: batches must have a clip for each of 2 processes, they"),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in [
                (("--labels", "none.csv"), "specctl: cannot read labels: none.csv: No such file"),
                (("--batch-size", 0), "specctl: batch_size must be greater than 0, got 0"),
                (
                    ("--device", "cuda:99"),
                    "specctl: device must be one of this machine's, got 'cuda:99'",
                ),
                (
                    ("--config", "none.toml"),
                    "specctl: cannot read settings: none.toml: No such file",
                ),
            ]
        ),
    ],
)
def test_an_error_of_both_is_said_once(arguments, text, folder, tmp_path_factory, tmp_path):
    """Though the process that is to say it comes to it last."""
    imported = tmp_path_factory.mktemp("late")
    (imported / "sitecustomize.py").write_text(LATE)
    environment = {**ENVIRONMENT, "PYTHONPATH": str(imported)}
    command = (*TORCHRUN, "train-basis", folder, "b", *SETTINGS, *arguments)
    code, said = finished(*command, cwd=tmp_path, env=environment)
    assert code != 0
    (line,) = said
    assert line.startswith(text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_before_they_meet_is_said_by_the_first_at_once(rank, folder, monkeypatch):
    waited = []
    monkeypatch.setattr("specctl.cli.train_basis.time.sleep", waited.append)
    for name, value in variables(rank).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, ["train-basis", str(folder), "b", "--config", "none.toml"])
    assert done.exit_code == 2
    assert done.stderr.startswith("specctl: cannot read settings: none.toml: No such file")
    # the other waits until torchrun has ended it
    assert waited == [10.0] * rank


@pytest.fixture(scope="module")
def stopped(folder, tmp_path_factory):
    """A folder in which Ctrl-C has stopped a training, and what was said; not to be changed."""
    place = tmp_path_factory.mktemp("stopped")
    process = start(*TORCHRUN, *LONG, folder, "b", "--metrics", "m.jsonl", cwd=place)
    wait_for_steps(place / "m.jsonl", 12, process)
    # as a terminal does: to torchrun and both processes at once
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    return place, stderr


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_resume_goes_on_in_two_processes_and_the_end_of_one_ends_the_other(
    victim, stopped, tmp_path
):
    place, stderr = stopped
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    said = [line for line in stderr.splitlines() if line.startswith("specctl:")]
    assert re.fullmatch(r"specctl: stopped after step \d+ of 5000", said[0])
    assert len(said) == 2
    line = re.fullmatch(r"specctl: to go on in 2 processes of torchrun: specctl (.*)", said[1])
    (checkpoint,) = (tmp_path / "b.work").glob("*.checkpoint")
    assert read_checkpoint(checkpoint)["step"] == steps(tmp_path / "m.jsonl")[-1]
    n_before = len(steps(tmp_path / "m.jsonl"))
    again = start(*TORCHRUN, *shlex.split(line[1]), cwd=tmp_path)
    wait_for_steps(tmp_path / "m.jsonl", n_before + 5, again)
    os.kill(ranks(again)[victim], signal.SIGKILL)
    _, stderr = again.communicate(timeout=60)
    assert again.returncode != 0
    said = [line for line in stderr.splitlines() if "specctl:" in line]
    if said:  # torchrun may end the other before it notices
        (line,) = said
        assert re.search("another process of this training has ended|to go on", line)
    # the only traceback is that of torchrun
    assert "specctl/training/" not in stderr
    assert list((tmp_path / "b.work").glob("*.checkpoint"))
    taken = steps(tmp_path / "m.jsonl")
    assert taken == list(range(1, len(taken) + 1))


def test_resume_with_another_number_of_processes_is_refused(stopped, folder, tmp_path):
    shutil.copytree(stopped[0], tmp_path, dirs_exist_ok=True)
    with chdir(tmp_path):
        done = CliRunner().invoke(app, [*map(str, LONG), str(folder), "b", "--resume"])
    assert done.exit_code == 1
    assert "another number of processes (there 2, here 1); resume it" in done.stderr
