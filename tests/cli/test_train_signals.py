"""Signals to ``specctl train-basis``: what is kept, and how to go on."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import chdir

import pytest

from specctl.training.metrics import JsonLines
from specctl.transforms import MelSpectrogram
from tests.cli.test_train_basis import ENVIRONMENT, SETTINGS, invoke
from tests.convert.commands import SPECCTL
from tests.training.audio import write_tones


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("signals") / "in")


LONG = (
    *("train-basis", "{folder}", "b", *SETTINGS, "--epochs", 2000, "--metrics", "m.jsonl"),
    *("--no-verdict", "--runs", 1),
)


def steps(metrics):
    # the last line may be half written
    whole = metrics.read_text().rpartition("\n")[0]
    events = [json.loads(line) for line in whole.splitlines()]
    return [each["step"] for each in events if each["event"] == "step"]


def invoke_and_signal(monkeypatch, number, *arguments):
    """A command of this process, which gets a signal after its third step."""
    seen = []

    class Signalling(JsonLines):
        def __call__(self, event):
            super().__call__(event)
            seen.extend([event] * (event["event"] == "step"))
            if len(seen) == 3 and event is seen[-1]:
                os.kill(os.getpid(), number)

    monkeypatch.setattr("specctl.training.metrics.JsonLines", Signalling)
    monkeypatch.setattr(sys, "argv", ["specctl", *map(str, arguments)])
    return invoke(*arguments)


def command_to_go_on(said):
    line = re.search(r"^specctl: to go on: specctl (.*)$", said, re.MULTILINE)[1]
    assert shlex.split(line)[:2] == ["train-basis", "--resume"]
    return shlex.split(line)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, id="ctrl-c", marks=pytest.mark.thorough),
        pytest.param(signal.SIGTERM, 143, id="sigterm"),
    ],
)
def test_a_signal_leaves_a_checkpoint_and_says_how_to_go_on(
    number, code, folder, tmp_path, monkeypatch
):
    command = [str(word).format(folder=folder) for word in LONG]
    process = subprocess.Popen(
        [SPECCTL, *command], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "m.jsonl"
    while not (metrics.exists() and len(steps(metrics)) > 3):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert list((tmp_path / "b.work").glob("*.checkpoint"))
    n_before = len(steps(metrics))
    with chdir(tmp_path):
        done = invoke_and_signal(monkeypatch, number, *command_to_go_on(said))
    assert done.exit_code == code, done.output
    # it goes on where it stopped, with nothing lost
    assert steps(metrics) == list(range(1, n_before + 4))


def test_a_signal_to_what_replaces_another_basis_says_how_to_go_on(folder, tmp_path, monkeypatch):
    MelSpectrogram(n_fft=64, n_mels=8, trainable=("basis",)).save_basis(tmp_path / "b")
    command = [str(word).format(folder=folder) for word in (*LONG, "--overwrite")]
    with chdir(tmp_path):
        done = invoke_and_signal(monkeypatch, signal.SIGINT, *command)
        assert done.exit_code == 130, done.output
        again = command_to_go_on(done.stderr)
        assert "--overwrite" in again
        done = invoke_and_signal(monkeypatch, signal.SIGINT, *again)
    assert done.exit_code == 130, done.output
    assert command_to_go_on(done.stderr) == again
    assert steps(tmp_path / "m.jsonl") == [1, 2, 3, 4, 5, 6]
