"""``specctl train-basis --report``: what is told where the page cannot be."""

import json

import pytest
from typer.testing import CliRunner

from specctl.cli.commands import app
from specctl.errors import StoreError
from specctl.training.metrics import JsonLines
from tests.training.audio import write_tones

SETTINGS = ("--n-fft", 64, "--n-mels", 8, "--crop", 0.08, "--model", "linear", "--epochs", 1)
ONE = (*SETTINGS, "--batch-size", 5, "--runs", 1, "--no-verdict")


def train(folder, output, report, *others):
    arguments = ("train-basis", folder, output, *ONE, "--report", report, *others)
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "100"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("report") / "in")


def test_a_report_that_cannot_be_written_costs_no_result(folder, tmp_path, monkeypatch):
    def write_page(path, summary):
        raise StoreError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("specctl.training.page.write_page", write_page)
    done = train(folder, tmp_path / "b", tmp_path / "r.html", "--json")
    assert done.exit_code == 1
    assert done.stderr.endswith("No space left on device; mend that and write it with --resume\n")
    assert json.loads(done.stdout)["kept_run"] == 0


def test_a_report_of_a_basis_whose_name_is_no_text(folder, tmp_path):
    done = train(folder, tmp_path / "b\udcff", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    assert r"<h1>b\udcff: trained basis</h1>" in (tmp_path / "r.html").read_text()


def test_a_report_that_could_not_be_written_is_written_without_training_again(folder, tmp_path):
    (tmp_path / "place").mkdir()
    report = tmp_path / "place" / "r.html"
    first = train(folder, tmp_path / "b", report, "--json", "--metrics", tmp_path / "m.jsonl")
    assert first.exit_code == 0
    (tmp_path / "b").unlink()
    report.unlink()

    def gone(event):
        if event["event"] == "epoch":
            report.parent.rmdir()

    with pytest.MonkeyPatch.context() as patch:
        lines = type("Lines", (JsonLines,), {"__call__": lambda self, event: gone(event)})
        patch.setattr("specctl.training.metrics.JsonLines", lines)
        failed = train(folder, tmp_path / "b", report, "--overwrite", "--metrics", tmp_path / "n")
    assert failed.exit_code == 1
    assert "No such file or directory; mend that and write it with --resume" in failed.stderr
    report.parent.mkdir()
    again = train(folder, tmp_path / "b", report, "--resume", "--json")
    assert again.exit_code == 0, again.stderr
    assert (
        json.loads(again.stdout)["runs"][0]["test"] == json.loads(first.stdout)["runs"][0]["test"]
    )
    assert "trained basis</h1>" in report.read_text()
    assert not (tmp_path / "b.work").exists()
