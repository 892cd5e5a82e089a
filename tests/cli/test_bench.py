"""``specctl bench`` as a command."""

import io
import json

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from specctl.cli import commands  # noqa: F401 - registers all commands
from specctl.cli.app import app
from tests.bench.fakes import Fake, FakeTimer
from tests.convert.commands import LIMIT, environment, started, wait_for

SMALL = (
    *("--sample-rate", 8000, "--n-fft", 64, "--hop-length", 16, "--n-mels", 8, "--seconds", 0.5),
    *("--device", "cpu", "--threads", 1, "--rounds", 2, "--no-memory"),
)


def invoke(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


@pytest.fixture
def fakes(monkeypatch):
    """Puts fake contenders in the place of all; what they take is told to the wall clock."""

    def use(*contenders, timer):
        monkeypatch.setattr("specctl.bench.run.listed_contenders", lambda *_: list(contenders))
        monkeypatch.setattr("specctl.bench.run.timer_for", lambda _: timer)
        monkeypatch.setattr("specctl.bench.run.copy_bandwidth", lambda *_: 1e9)

    return use


def test_measures_real_contenders_and_writes_all_three_results(tmp_path):
    data, page = tmp_path / "out.json", tmp_path / "out.html"
    done = invoke(*SMALL, "--contenders", "specctl,torch.stft", "--json", data, "--report", page)
    assert done.exit_code == 0, done.output
    assert "specctl-fft" in done.stdout and "torch.stft" in done.stdout
    assert "mel, log-mel: n_fft 64, hop 16, 8 mels, 8000 Hz, 1 × 0.5 s" in done.stdout
    found = json.loads(data.read_text())
    assert {cell["contender"] for cell in found["cells"]} >= {"specctl-fft", "torch.stft"}
    assert all(cell["status"] == "ok" for cell in found["cells"])
    assert all(cell["samples_s"] and cell["keeps_contract"] for cell in found["cells"])
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_json_on_stdout_is_all_that_stands_there():
    done = invoke(*SMALL, "--contenders", "torch.stft", "--json", "-", "-q")
    assert json.loads(done.stdout)["cells"][0]["contender"] == "torch.stft"
    assert done.stderr == ""


def test_verify_passes_when_the_kernels_are_right():
    done = invoke(*SMALL[:-3], "--rounds", 2, "--verify")
    assert done.exit_code == 0, done.output
    assert "specctl-conv" in done.stdout


def test_verify_fails_when_a_kernel_is_wrong(fakes):
    timer = FakeTimer()
    wrong = Fake("specctl-fft", timer, off_db=0.02)
    fakes(wrong, Fake("specctl-conv", timer), timer=timer)
    done = invoke(*SMALL, "--verify")
    assert done.exit_code == 1
    assert "specctl: specctl-fft on mel, log-mel" in done.stderr
    assert "breaks the contract: 0.02 dB off" in done.stderr
    assert "specctl-conv on" not in done.stderr


def test_verify_fails_when_it_does_not_get_to_every_kernel():
    done = invoke(*SMALL, "--verify", "--budget", 1e-6)
    assert done.exit_code == 1
    assert "specctl: --verify had no time for some of the kernels; give a larger" in done.stderr


@pytest.mark.parametrize(("limit", "code"), [(2.9, 0), (3.1, 1)], ids=["above", "below"])
def test_fail_below_looks_at_the_best_kernel(fakes, limit, code):
    timer = FakeTimer()
    fakes(
        Fake("torch.stft", timer, lambda _: 3.0),
        Fake("specctl-fft", timer, lambda _: 1.0),
        Fake("specctl-conv", timer, lambda _: 9.0),
        timer=timer,
    )
    done = invoke(*SMALL, "--fail-below", limit, "--budget", 1e6)
    assert done.exit_code == code
    assert ("specctl over torch.stft is 3.00 × on" in done.stderr) == (code == 1)


def test_fail_below_fails_where_there_is_nothing_to_compare(fakes):
    timer = FakeTimer()
    fakes(Fake("specctl-fft", timer, off_db=1.0), Fake("torch.stft", timer), timer=timer)
    done = invoke(*SMALL, "--fail-below", 1, "--budget", 1e6)
    assert done.exit_code == 1
    assert "specctl over torch.stft has no ratio on" in done.stderr


def test_the_speed_of_who_is_wrong_is_not_printed(fakes):
    timer = FakeTimer()
    fakes(Fake("wrong", timer, off_db=1.0), Fake("rights", timer), timer=timer)
    done = invoke(*SMALL, "--budget", 1e6)
    (row,) = [line for line in done.stdout.splitlines() if line.strip().startswith("wrong  ")]
    assert row.split()[:4] == ["wrong", "failed", "-", "-"]
    assert "wrong: breaks the contract: 1 dB off" in done.stdout
    (right,) = [line for line in done.stdout.splitlines() if line.strip().startswith("rights")]
    assert right.split()[1] == "500"


@pytest.mark.parametrize("width", [60, 110])
@pytest.mark.parametrize("flags", [(), ("--verbose",), ("--verify",)], ids=["", "-v", "verify"])
def test_no_number_is_cut_off_by_the_end_of_a_line(fakes, monkeypatch, flags, width):
    timer, shown = (
        FakeTimer(),
        Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None),
    )
    monkeypatch.setattr("specctl.cli.bench_table.out", shown)
    fakes(
        Fake("torch.stft", timer, lambda _: 3.21),
        Fake("specctl-fft", timer, lambda i: 1 + i % 7 / 9),
        timer=timer,
    )
    assert invoke(*SMALL, *flags, "--quiet", "--budget", 1e6).exit_code == 0
    lines = shown.file.getvalue().splitlines()
    assert "…" not in "".join(lines)
    assert max(map(len, lines)) <= width
    assert flags == ("--verify",) or "3,210" in "".join(lines)


def test_what_a_peer_lacks_stands_below_the_table(fakes):
    timer = FakeTimer()

    class Absent(Fake):
        modules = ("no_such_module_at_all",)
        install = "pip install it"

    fakes(Absent("first", timer), Absent("second", timer), timer=timer)
    done = invoke(*SMALL)
    assert done.exit_code == 0
    assert "first, second: no_such_module_at_all is not installed; pip install it" in done.stdout


def test_ctrl_c_says_where_the_results_are(fakes, tmp_path):
    timer, path = FakeTimer(), tmp_path / "out.json"
    fakes(
        Fake("first", timer),
        Fake("second", timer, fails={5: KeyboardInterrupt()}),
        timer=timer,
    )
    done = invoke(*SMALL, "--json", path, "--rounds", 10, "--budget", 1e6)
    assert done.exit_code == 130
    assert f"specctl: stopped; what was measured is in {path}" in done.stderr.replace("\n", "")
    found = json.loads(path.read_text())
    assert found["status"] == "stopped"
    assert all(cell["samples_s"] for cell in found["cells"])


def test_ctrl_c_names_the_page_where_json_was_to_be_printed(fakes, tmp_path):
    timer, path = FakeTimer(), tmp_path / "out.html"
    fakes(Fake("first", timer, fails={5: KeyboardInterrupt()}), timer=timer)
    done = invoke(*SMALL, "--json", "-", "--report", path, "--rounds", 10, "--budget", 1e6)
    assert (done.exit_code, done.stdout) == (130, "")
    assert f"specctl: stopped; what was measured is in {path}" in done.stderr.replace("\n", "")
    assert path.exists()


def test_sigterm_leaves_nothing_but_the_results(tmp_path):
    place, path = tmp_path / "tmp", tmp_path / "out.json"
    place.mkdir()
    flags = ("--work", "convert", "--contenders", "specctl", "--seconds", 1, "--batch", 4)
    run = (*flags, "--rounds", 10_000, "--json", path)
    with started(*run, command="bench", env=environment(TMPDIR=str(place))) as process:
        wait_for(lambda: [*place.glob("specctl-bench-*/out.h5")], "a store", process)
        process.terminate()
        printed, said = process.communicate(timeout=LIMIT)
    assert (process.returncode, printed) == (143, "")
    assert said.endswith(f"specctl: stopped; what was measured is in {path}\n")
    assert json.loads(path.read_text())["status"] == "stopped"
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--work", "melody"), "work must be mel or stft or train or convert, got 'melody'"),
        (("--n-fft", 1), "n_fft must be greater than or equal to 2, got 1"),
        (("--contenders", "kapre"), "got 'kapre'"),
        (("--device", "tpu"), "device must be auto, cpu or cuda, got 'tpu'"),
        (("--seconds", 100_000), "seconds must be at most 3600, got 100000"),
        (("--seconds", "nan"), "seconds must be positive, got nan"),
        (("--budget", "nan"), "budget must be positive and finite, got nan"),
        (("--budget", "inf"), "budget must be positive and finite, got inf"),
        (("--fail-below", "nan"), "fail_below must be finite and not negative, got nan"),
        (("--fail-below", "-1"), "fail_below must be finite and not negative, got -1"),
        (("--fail-below", 1, "--verify"), "--fail-below must not be given with --verify"),
        (("--fail-below", 1, "--work", "train"), "--fail-below must be given with work mel"),
        (
            ("--fail-below", 1, "--work", "train", "--work", "convert"),
            "work mel or stft, got train and convert",
        ),
        (
            ("--fail-below", 1, "--contenders", "specctl,librosa"),
            "contenders must have specctl and torch.stft with --fail-below, got specctl, librosa",
        ),
        (("--fail-below", 1, "--contenders", "torch"), "must have specctl and torch.stft"),
        (("--batch", 10**14), "batch must be at most "),
        (("--seconds", 3600, "--sample-rate", 2**20, "--batch", 10**6), "batch must be at most "),
        (("--n-fft", 2**20, "--seconds", 60), "n_fft must be at most "),
        (("--sweep", "batch", "--n-fft", 2**20, "--seconds", 60), "n_fft must be at most "),
        (("--contenders", ""), "contenders must be names, got ''"),
        (("--contenders", ", "), "contenders must be names, got ', '"),
        (("--work", "convert", "--contenders", "librosa"), "one for work 'convert', got librosa"),
        (("--contenders", "specctl-convert"), "one for work 'mel', got specctl-convert"),
        (("--json", ""), "a path is empty"),
        (("--report", ""), "a path is empty"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_code_2(flags, text):
    done = invoke(*flags)
    assert done.exit_code == 2
    assert text in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("flag", ["--json", "--report"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [(".", "it is a folder"), ("in", "it is a folder"), ("no/b", "no such folder; make ")],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    flag, path, reason, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    done = invoke(flag, path)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"specctl: cannot write {path}: {reason}")
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(("flag", "kind"), [("--json", "JSON"), ("--report", "HTML")])
@pytest.mark.parametrize("content", [b"RIFF1234WAVEfmt ", b"\x89HDF\r\n\x1a\n", b"path,label\n"])
def test_files_of_another_kind_are_not_replaced(flag, kind, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_bytes(content)
    done = invoke(flag, "mine")
    assert done.exit_code == 1
    assert done.stderr == f"specctl: mine is no {kind} file; {flag} replaces {kind} files only\n"
    assert (tmp_path / "mine").read_bytes() == content


def test_two_results_are_two_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("out")
    done = invoke("--json", "out", "--report", "link")
    assert done.exit_code == 2
    assert done.stderr == "specctl: json must be another file than report, both are out\n"


def test_results_of_before_are_replaced(fakes, tmp_path):
    timer = FakeTimer()
    fakes(Fake("first", timer), timer=timer)
    for _ in range(2):
        done = invoke(*SMALL, "--json", tmp_path / "o.json", "--report", tmp_path / "o.html")
        assert done.exit_code == 0, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_is_refused_where_there_is_none():
    done = invoke("--device", "cuda")
    assert done.exit_code == 2
    assert done.stderr == "specctl: device 'cuda' is not here; this machine has cpu\n"
