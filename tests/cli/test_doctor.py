import json

import h5py
import pytest
from typer.testing import CliRunner

from specctl.cli import doctor  # noqa: F401 - registers the command
from specctl.cli.app import app
from tests.convert.commands import environment, run_script


@pytest.fixture(autouse=True)
def no_switches(monkeypatch):
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    monkeypatch.delenv("HDF5_PLUGIN_PRELOAD", raising=False)


def run(*arguments):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def test_shows_versions_and_ends_with_a_count(tmp_path):
    result = run(tmp_path)
    lines = result.stdout.splitlines()
    assert any(line.startswith("h5py") and h5py.version.hdf5_version in line for line in lines)
    assert "problem" in lines[-1]
    assert "note" in lines[-1]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("HDF5_USE_FILE_LOCKING", None, "locking       HDF5 locks; "),
        ("HDF5_USE_FILE_LOCKING", "0", "locking       HDF5 does not lock; "),
        ("HDF5_PLUGIN_PRELOAD", None, "plug-ins      HDF5 loads none"),
        ("HDF5_PLUGIN_PRELOAD", "/tmp", "plug-ins      HDF5 loads them"),
    ],
)
def test_says_whether_files_are_locked_and_plug_ins_loaded(
    tmp_path, monkeypatch, name, value, line
):
    if value is not None:
        monkeypatch.setenv(name, value)
    (found,) = [each for each in run(tmp_path).stdout.splitlines() if each.startswith(line)]
    if name == "HDF5_USE_FILE_LOCKING":
        assert found == f"{line}{tmp_path} takes locks"


def test_a_problem_is_named_with_its_cure_and_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert (
        "problem: HDF5 locks no files: a program may overwrite a store that another one reads; "
        "unset HDF5_USE_FILE_LOCKING" in result.stdout.splitlines()
    )


def test_json_says_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    result = run(tmp_path, "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (1, False)
    assert report["machine"]["hdf5"] == h5py.version.hdf5_version
    (locking,) = [each for each in report["findings"] if each["about"] == "locking"]
    assert locking["level"] == "problem"
    assert locking["cure"] == "unset HDF5_USE_FILE_LOCKING"


def test_without_a_home_nobody_else_speaks(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").touch()
    env = environment(HOME=str(tmp_path / "file" / "home"))
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        env.pop(name, None)
    done = run_script("doctor", tmp_path, env=env)
    assert done.stderr == ""
    assert "matplotlib" in done.stdout


def test_a_variable_without_a_value_is_not_this_folder():
    result = run("")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a path is empty" in result.stderr
