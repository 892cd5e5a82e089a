import json

import pytest
from typer.testing import CliRunner

from specctl.cli import presets  # noqa: F401 - registers the command
from specctl.cli.app import app
from specctl.config import SpectrogramConfig
from specctl.presets import PRESETS
from tests.convert.commands import environment, run_script


def run(*arguments, columns=80):
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["presets", *arguments])


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("name", PRESETS)
def test_every_number_is_shown_however_narrow_the_window(monkeypatch, name, columns):
    monkeypatch.setattr("specctl.cli.app.out._width", columns)
    shown = " ".join(run(name).stdout.split())
    for setting, value in SpectrogramConfig.resolve(name).to_dict().items():
        if value is not None:
            assert f"{setting} {value}" in shown


def test_a_heading_is_one_line():
    assert run().stdout.splitlines()[0] == f"librosa  {PRESETS['librosa'][0]}"


def test_json_is_one_object_without_colours():
    done = run_script("presets", "--json", env=environment(FORCE_COLOR="1"))
    assert list(json.loads(done.stdout)) == list(PRESETS)


def test_an_unknown_name_is_one_line_with_those_that_there_are():
    result = run("whisprr")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "librosa, librosa-mfcc" in result.stderr
