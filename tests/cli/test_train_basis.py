"""``specctl train-basis`` as a command: what it says, where, and its exit code."""

import json
import re
import sys
from contextlib import chdir
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.color import ColorSystem
from typer.testing import CliRunner

from specctl import open_store
from specctl.basis import load_basis
from specctl.cli.commands import app
from specctl.transforms import MelSpectrogram
from tests.convert.commands import environment, run_script
from tests.training.audio import write_tones

ROOT = Path(__file__).parent.parent.parent
SETTINGS = ("--n-fft", 64, "--n-mels", 8, "--crop", 0.08, "--model", "linear", "--lr", 0.01)
QUICK = (*SETTINGS, "--epochs", 3, "--batch-size", 5)
ONE = (*QUICK, "--runs", 1, "--no-verdict")
ENVIRONMENT = environment(OMP_NUM_THREADS="1", COLUMNS="100")


def invoke(*arguments):
    """In this process, which has imported all that takes seconds."""
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "100"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("cli") / "in")


class Tags(HTMLParser):
    """Checks that tags are closed in order; nothing may be fetched."""

    EMPTY = ("meta", "img", "br", "line", "polyline")

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        assert tag not in ("script", "link")
        for name, value in attrs:
            assert name not in ("src", "href") or value.startswith("data:")
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_from_a_folder_to_a_verdict_a_report_and_a_store(folder, tmp_path):
    done = run_script(
        *("train-basis", folder, "b.safetensors", *QUICK, "--augment", "gain"),
        *("--augment", "shift:max_shift=0.1", "--report", "r.html", "--metrics", "m.jsonl"),
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    # the verdict alone is a result
    judged = "trained basis (helps|makes no difference|hurts)"
    outcome = rf"({judged}|.* cannot tell whether a trained basis helps) on this data: .*\n"
    assert re.fullmatch(outcome, done.stdout)
    lines = done.stderr.splitlines()
    assert lines[0] == "training 4,224 numbers (basis) on 16 files of 2 classes: high, low"
    assert any(line.startswith("b.safetensors: run ") for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "b.safetensors",
        "m.jsonl",
        "r.html",
    ]
    events = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    epochs = [each for each in events if each["event"] == "epoch"]
    assert {(each["run"], each["arm"], each["epoch"]) for each in epochs} == {
        (run, arm, epoch)
        for run in range(3)
        for arm in ("fixed", "trained")
        for epoch in range(1, 4)
    }
    tags = Tags()
    tags.feed((tmp_path / "r.html").read_text())
    assert tags.open == []
    assert tags.seen.count("svg") == 3 + 3 + 2 * 6
    assert tags.seen.count("img") == 2
    assert done.stdout.strip() in tags.texts
    held = load_basis(tmp_path / "b.safetensors")
    assert held.metadata["verdict"]["sentence"] == done.stdout.strip()
    assert held.metadata["training"]["augment"] == ["gain", "shift:max_shift=0.1"]


def test_json_is_one_object_without_colours(folder, tmp_path, monkeypatch):
    # as FORCE_COLOR does
    monkeypatch.setattr("specctl.cli.app.out._color_system", ColorSystem.STANDARD)
    done = invoke("train-basis", folder, tmp_path / "b", *ONE, "--json", "--quiet")
    assert (done.exit_code, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["n_trained"] == 4224
    assert result["runs"][0]["arm"] == "trained"
    assert result["verdict"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--train", ""), 2, "at least one of basis, window, frequencies, mel, got none"),
        (("--crop", "1e9"), 2, "crop must be less than or equal to 3600, got 1000000000"),
        (("--crop", "3601"), 2, "crop must be less than or equal to 3600, got 3601"),
        (("--model", "vgg"), 2, "model must be linear, cnn, resnet18, got 'vgg'"),
        (("--labels", "none.csv"), 2, "cannot read labels: none.csv: No such file"),
        (("--group", "("), 2, "group must be a regular expression"),
        (("--n-fft", "7x"), 2, "Invalid value for '--n-fft'"),
        (("--vram-budget", "1GiB"), 2, "vram_budget has no effect on cpu"),
        (("--cache-budget", ""), 2, "size must be a number such as 4GiB, got ''"),
        (("--cache-budget", "-1"), 2, "cache budget must be at least 0 bytes, got -1"),
        (("--metrics", "in/high/00.wav"), 1, "in/high/00.wav already exists; pass --overwrite"),
        (("--report", "none/r.html"), 1, "cannot write none/r.html: no such folder; make "),
        (("--report", "in"), 1, "cannot write in: it is a folder"),
        (("--labels", ""), 2, "a path is empty"),
        (("--report", ""), 2, "a path is empty"),
        (("--metrics", ""), 2, "a path is empty"),
        (("--tensorboard", ""), 2, "a path is empty"),
        (("--init", "none.st"), 2, "random or a basis file, got 'none.st'"),
        (("--init", "in/high/00.wav"), 2, "in/high/00.wav is not a specctl basis file"),
        (("--init", "n" * 300), 2, "random or a basis file, got 'nnn"),
    ],
)
def test_wrong_flags_end_in_one_line(arguments, code, text, tmp_path):
    write_tones(tmp_path / "in", n_clips=3)
    with chdir(tmp_path):
        done = invoke("train-basis", "in", "b", *ONE, "--device", "cpu", *arguments)
    assert done.exit_code == code, done.output
    assert text in done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("labels = 'x.csv'", "there is no setting 'labels'"),
        ("group = 'x'", "there is no setting 'group'"),
        ("folder = 'x'", "there is no setting 'folder'"),
        ("output = 'x'", "there is no setting 'output'"),
        ("options = 'x'", "there is no setting 'options'"),
        ("report = 'x'", "there is no setting 'report'"),
        ("should_stop = true", "there is no setting 'should_stop'"),
        ("nfft = 64", "there is no setting 'nfft'; did you mean n_fft"),
        ("model = 3", "model must be a valid string, got 3"),
    ],
)
def test_a_file_of_settings_has_settings_only(line, text, folder, tmp_path):
    (tmp_path / "c.toml").write_text(f"{line}\n")
    given = [each for each in ONE if each not in ("--model", "linear")]
    with chdir(tmp_path):
        done = invoke("train-basis", folder, "b", *given, "--config", "c.toml")
    assert done.exit_code == 2, done.output
    assert done.stderr == f"specctl: {text}\n"


def test_a_rank_without_several_processes_is_no_reason_to_be_silent(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with chdir(tmp_path):
        done = invoke("train-basis", folder, "b", *ONE, "--metrics", "m.jsonl", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["n_files"] == 16
    assert (tmp_path / "m.jsonl").exists()


@pytest.mark.parametrize("name", ["WORLD_SIZE", "LOCAL_RANK"])
def test_variables_of_torchrun_that_are_no_numbers_end_in_one_line(name, folder, monkeypatch):
    monkeypatch.setenv(name, "x")
    done = invoke("train-basis", folder, "b", *ONE)
    assert done.exit_code == 2, done.output
    assert re.fullmatch(f"specctl: {name} must be a whole number .*, got 'x'; .*\n", done.stderr)


def test_threads_are_no_more_than_the_cores_that_may_be_used(tmp_path, monkeypatch):
    write_tones(tmp_path / "in", n_clips=3)
    before = torch.get_num_threads()
    try:
        for n_cores, n_threads in ((64, 2), (1, 1)):
            torch.set_num_threads(2)
            monkeypatch.setattr("specctl.cli.train_basis.usable_cores", lambda n=n_cores: n)
            with chdir(tmp_path):
                command = ["train-basis", "in", "b", "--labels", "none.csv"]
                assert CliRunner().invoke(app, command).exit_code == 2
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("by", ["--overwrite", "--resume"])
@pytest.mark.parametrize(
    ("output", "arguments", "code", "text"),
    [
        (
            "in/low/00.wav",
            (),
            1,
            "in/low/00.wav is no basis file; --overwrite replaces basis files",
        ),
        ("labels.csv", (), 1, "labels.csv is no basis file; --overwrite replaces basis files"),
        (
            "b",
            ("--report", "in/low/00.wav"),
            1,
            "in/low/00.wav is no HTML file; --report replaces",
        ),
        ("b", ("--report", "old"), 1, "old is no HTML file; --report replaces HTML files only"),
        ("b", ("--metrics", "in/low/00.wav"), 1, "in/low/00.wav is no JSON file; --metrics repl"),
        ("b", ("--metrics", "labels.csv"), 1, "labels.csv is no JSON file; --metrics replaces"),
        ("b", ("--report", "b"), 2, "output must be another file than report, both are b"),
        (
            "b",
            ("--report", "r", "--metrics", "./r"),
            2,
            "report must be another file than metrics",
        ),
        ("old", ("--init", "old"), 2, "output must be another file than init, both are old"),
        ("b", ("--metrics", "m.jsonl", "--labels", "no.csv"), 2, "cannot read labels: no.csv"),
    ],
)
def test_files_of_another_kind_are_not_replaced(by, output, arguments, code, text, tmp_path):
    write_tones(tmp_path / "in", n_clips=3)
    (tmp_path / "labels.csv").write_text("path,label\nlow/00.wav,low\n")
    (tmp_path / "m.jsonl").write_text('{"event": "step"}\n')
    MelSpectrogram(n_fft=64, n_mels=8, trainable=("basis",)).save_basis(tmp_path / "old")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    if by == "--resume":
        arguments = (*arguments, "--resume")
    with chdir(tmp_path):
        done = invoke("train-basis", "in", output, *ONE, *arguments, "--overwrite")
    assert done.exit_code == code, done.output
    assert text in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--tensorboard", "mine"), 1, "cannot write mine: it is no folder"),
        (("--tensorboard", "mine/tb"), 1, "cannot write mine/tb: .*/mine is no folder"),
        (("--tensorboard", "b"), 2, "output must be another file than tensorboard, both are b"),
        (("--tensorboard", "b/tb"), 2, "tensorboard must be a folder outside output, got b/tb"),
        (
            ("--tensorboard", "m/tb", "--metrics", "m"),
            2,
            "tensorboard must be a folder outside metrics, got m/tb",
        ),
        (
            ("--tensorboard", "b.work/tb"),
            2,
            "tensorboard must not be in b.work, which is removed in the end, got b.work/tb",
        ),
        (("--metrics", "b.work/m"), 2, "metrics must not be in b.work, which is removed"),
    ],
)
def test_places_that_cannot_be_kept_are_refused(arguments, code, text, tmp_path, monkeypatch):
    stub_tensorboard(monkeypatch)
    write_tones(tmp_path / "in", n_clips=3)
    (tmp_path / "mine").write_text("mine")
    with chdir(tmp_path):
        done = invoke("train-basis", "in", "b", *ONE, *arguments)
    assert done.exit_code == code, done.output
    assert re.search(f"^specctl: {text}", done.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "mine"]


def stub_tensorboard(monkeypatch):
    """What writes curves, without TensorBoard; it makes its folder as the true one does."""

    class Writer:
        def __init__(self, folder):
            Path(folder).mkdir(parents=True)
            self.path = Path(folder) / "events"

        def add_scalar(self, key, value, step):
            with self.path.open("a") as file:
                file.write(f"{key} {step}\n")

        def close(self):
            pass

    module = SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)


def test_curves_of_tensorboard(folder, tmp_path, monkeypatch):
    stub_tensorboard(monkeypatch)
    with chdir(tmp_path):
        done = invoke("train-basis", folder, "b", *ONE, "--tensorboard", "logs/tb")
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "logs" / "tb" / "run1-trained" / "events").read_text().splitlines()
    assert lines[0] == "loss 1"
    assert "validation_accuracy 2" in lines


def test_curves_that_cannot_be_written_end_in_one_line(folder, tmp_path, monkeypatch):
    stub_tensorboard(monkeypatch)
    (tmp_path / "tb").mkdir()
    (tmp_path / "tb" / "run1-trained").write_text("mine")
    with chdir(tmp_path):
        done = invoke("train-basis", folder, "b", *ONE, "--tensorboard", "tb", "-q")
    assert (done.exit_code, done.stderr) == (1, "specctl: cannot write tb: File exists\n")


def test_what_was_written_before_is_replaced(folder, tmp_path):
    results = ("--report", "r.html", "--metrics", "m.jsonl")
    written = ("train-basis", folder, "mel-fourier", *ONE, *results)
    for flags in ((), ("--overwrite", "--init", "mel-fourier")):
        with chdir(tmp_path):
            done = invoke(*written, *flags)
        assert done.exit_code == 0, done.output


def test_some_files_that_fail_end_with_3(tmp_path):
    folder = write_tones(tmp_path / "in")
    (folder / "low" / "bad.wav").write_bytes(b"RIFF")
    done = invoke("train-basis", folder, tmp_path / "b", *ONE)
    assert done.exit_code == 3
    assert "failed: low/bad.wav: " in done.stderr


def test_bands_without_a_bin_are_told_of(folder, tmp_path):
    done = invoke("train-basis", folder, tmp_path / "b", *ONE, "--n-mels", 40)
    assert "of 40 mel bands have no FFT bin: raise n_fft or lower n_mels" in done.stderr


def test_a_trained_basis_goes_into_convert(folder, tmp_path):
    assert invoke("train-basis", folder, tmp_path / "b", *ONE).exit_code == 0
    done = invoke("convert", folder, tmp_path / "o.h5", "--basis", tmp_path / "b", "--workers", 0)
    assert done.exit_code == 0, done.output
    with open_store(tmp_path / "o.h5") as store:
        assert len(store) == 16
