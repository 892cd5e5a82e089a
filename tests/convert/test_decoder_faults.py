"""Decoders that really crash or hang: the file alone fails, with how it ended for a reason.

The decoder is a package named ``av`` that the workers find before any other; libsndfile does not
know the files, so they come to it. The first line of a file says what becomes of its decoder.
"""

import json
import os
import signal

import pytest

from specctl import open_store
from specctl.store.verify import verify_store
from tests.convert.audio_files import good_files
from tests.convert.commands import (
    LIMIT,
    assert_nothing_beside,
    environment,
    group_members,
    kill_group,
    run,
    start,
    wait_for,
)

STUB = """\
import os, pathlib, time
from fractions import Fraction
from types import SimpleNamespace as Made

class Container(Made):
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass

def open(file, **_):
    action, n_good, counter = file.read().decode().split("\\n")
    counter = pathlib.Path(counter)
    with counter.open("a") as opened:
        opened.write("x")
    if len(counter.read_text()) > int(n_good):
        if action == "segv":
            os.kill(os.getpid(), 11)
        if action == "exit":
            os._exit(7)
        while True:
            time.sleep(1)
    codec = Made(sample_rate=16000, channels=1, name="stub")
    stream = Made(codec_context=codec, duration=16000, time_base=Fraction(1, 16000))
    return Container(streams=Made(audio=[stream]), format=Made(name="stub"))
"""
FLAGS = ("--n-fft", 512, "--n-mels", 20, "--timeout", 3, "--workers", 2)
KILLED = {
    "segv": "its process was killed by SIGSEGV",
    "exit": "ended its process with exit code 7",
    "hang": "no progress for too long",
}


@pytest.fixture
def folder(tmp_path):
    return good_files(tmp_path / "in")


@pytest.fixture
def stubbed(tmp_path):
    (tmp_path / "stub" / "av").mkdir(parents=True)
    (tmp_path / "stub" / "av" / "__init__.py").write_text(STUB)
    paths = [str(tmp_path / "stub"), os.environ.get("PYTHONPATH", "")]
    return environment(PYTHONPATH=os.pathsep.join(filter(None, paths)))


@pytest.fixture
def add(folder, tmp_path):
    """Put a file there whose decoder does something after so many times that it goes well."""

    def add(name, action, n_good=0):
        (folder / name).write_text(f"{action}\n{n_good}\n{tmp_path / name}.opened")
        return tmp_path / f"{name}.opened"

    return add


@pytest.mark.parametrize("n_good", [0, 1], ids=["at-its-header", "at-its-samples"])
def test_crashes_and_hangs_cost_their_files_alone(folder, tmp_path, stubbed, add, n_good):
    store = tmp_path / "out" / "o.h5"
    store.parent.mkdir()
    assert run(folder, tmp_path / "clean.h5", *FLAGS).returncode == 0
    counters = [add(f"bb {action}.m4a", action, n_good) for action in KILLED]
    done = run(folder, store, *FLAGS, "--json", env=stubbed)
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    expected = {f"bb {action}.m4a": reason for action, reason in KILLED.items()}
    if n_good == 0:
        expected = {key: f"cannot be read: {reason}" for key, reason in expected.items()}
    assert dict(summary["failures"]) == expected
    assert (summary["n_converted"], summary["n_failed"], summary["n_found"]) == (5, 3, 8)
    for key, reason in expected.items():
        assert f"failed: {key}: {reason}" in done.stderr.splitlines()
    # found guilty the second time at the latest, not opened after that
    assert all(len(counter.read_text()) <= n_good + 2 for counter in counters)
    with open_store(store) as made, open_store(tmp_path / "clean.h5") as clean:
        assert dict(made.errors) == expected
        assert list(made) == list(clean)
        for key in clean:
            assert made[key].tobytes() == clean[key].tobytes()
    assert verify_store(store) == []
    assert_nothing_beside(store)


def test_what_killed_a_worker_twice_is_not_opened_again_after_a_kill(
    folder, tmp_path, stubbed, add
):
    counter = add("a0.m4a", "segv", 1)
    add("z.m4a", "hang", 1)
    store = tmp_path / "out" / "o.h5"
    store.parent.mkdir()
    process = start(folder, store, *FLAGS, "--timeout", 60, env=stubbed)
    wait_for((store.parent / "o.h5.parts" / "poison.json").exists, "the verdict")
    assert counter.read_text() == "xxx"
    kill_group(process)
    add("z.m4a", "segv", 1)
    done = run(folder, store, *FLAGS, env=stubbed, small_parts=True)
    assert done.returncode == 3, done.stderr
    assert counter.read_text() == "xxx"
    with open_store(store) as made:
        assert dict(made.errors) == {
            "a0.m4a": "its process was killed by SIGSEGV",
            "z.m4a": "its process was killed by SIGSEGV",
        }


def test_strict_stops_at_a_crash(folder, tmp_path, stubbed, add):
    add("bb.m4a", "segv", 1)
    done = run(folder, tmp_path / "o.h5", *FLAGS, "--strict", env=stubbed)
    assert done.returncode == 1
    assert done.stderr == "specctl: cannot convert bb.m4a: its process was killed by SIGSEGV\n"


def test_a_dry_run_survives_a_decoder_that_hangs(folder, tmp_path, stubbed, add):
    add("bb.m4a", "hang", 1)
    done = run(folder, tmp_path / "o.h5", *FLAGS, "--dry-run", env=stubbed)
    assert done.returncode == 0, done.stderr
    assert "6 files" in done.stdout


def test_a_worker_in_the_middle_of_a_file_dies_with_its_parent(folder, tmp_path, stubbed, add):
    counter = add("bb.m4a", "hang", 1)
    process = start(folder, tmp_path / "o.h5", *FLAGS, "--timeout", LIMIT, env=stubbed)
    wait_for(lambda: counter.exists() and counter.read_text() == "xx", "the hang")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not list(group_members(process.pid)), "the workers to end", seconds=5)
    process.communicate()
