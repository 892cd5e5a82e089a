import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from specctl.cli import verify  # noqa: F401 - registers the command
from specctl.cli.app import app
from tests.store.stores import CONFIG, make_store


def run(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


@pytest.fixture
def path(tmp_path):
    return make_store(tmp_path).path


def damage(path):
    import h5py

    with h5py.File(path) as file:
        place = file["spectrogram"].id.get_chunk_info(0).byte_offset + 9
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)


def test_a_good_store_is_one_line(path):
    result = run(path)
    assert (result.exit_code, result.stdout) == (0, "6 items, 50 frames: all good\n")
    assert result.stderr == ""


def test_a_damaged_store_names_the_items(path):
    damage(path)
    result = run(path)
    assert result.exit_code == 1
    first, second, last = result.stdout.splitlines()
    assert first == f"anna/0.wav: {path} is damaged: chunk 0 of /spectrogram (rows 0 to 7)"
    assert second.startswith("anna/1.wav: ")
    assert last == f"2 problems; specctl verify --repair {path} SOURCE... makes it good"


@pytest.mark.parametrize("name", ["my store.h5", "-a.h5"])
def test_what_mends_a_store_can_be_given_to_a_shell(path, name, monkeypatch):
    damage(path)
    monkeypatch.chdir(path.parent)
    path.rename(name)
    _, advice = run("--", name).stdout.splitlines()[-1].split("; ")
    *verb, told, sources = shlex.split(advice.removesuffix(" makes it good"))
    assert (verb, sources) == (["specctl", "verify", "--repair"], "SOURCE...")
    assert not told.startswith("-")
    assert Path(told).samefile(name)


def test_what_cannot_be_repaired_is_not_told_to_be(path):
    import h5py

    with h5py.File(path, "r+") as file:
        file["index/start"][1] = 4
    first, *_, last = run(path).stdout.splitlines()
    assert first.endswith("; convert again with --overwrite")
    assert last == "2 problems"


@pytest.mark.parametrize("found", ['"n_fft": 401', '"n_fft"; 400'], ids=["other", "not-json"])
def test_settings_that_have_changed_are_not_told_to_be_repairable(path, found):
    import h5py
    import numpy as np

    with h5py.File(path, "r+") as file:
        file.attrs["config"] = np.bytes_(CONFIG.replace('"n_fft": 400', found))
    first, *_, last = run(path).stdout.splitlines()
    told = "its settings do not match their fingerprint; convert again with --overwrite"
    assert first == f"{path} is damaged: {told}"
    assert last == "1 problem"


def test_json_of_a_good_store(path):
    assert json.loads(run(path, "--json").stdout) == {
        "path": str(path),
        "ok": True,
        "n_items": 6,
        "n_frames": 50,
        "problems": [],
    }


def test_json_of_a_damaged_store(path):
    damage(path)
    result = run(path, "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (1, False)
    assert [problem["key"] for problem in report["problems"]] == ["anna/0.wav", "anna/1.wav"]


def test_a_missing_store_is_a_problem(tmp_path):
    result = run(tmp_path / "none.h5")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"cannot open {tmp_path}/none.h5: No such file or directory",
        "1 problem",
    ]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--repair",), "--repair and SOURCE must be given together"),
        (("in",), "--repair and SOURCE must be given together"),
        (("--workers", 2), "workers has no effect without --repair"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(path, flags, text):
    result = run(path, *flags)
    assert (result.exit_code, result.stderr) == (2, f"specctl: {text}\n")
