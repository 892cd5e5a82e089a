"""Decoders that really crash or hang: the file alone fails, with how it ended for a reason."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options
from specctl.store.verify import verify_store
from tests.convert.audio_files import good_files, write_noise
from tests.convert.commands import (
    LIMIT,
    assert_nothing_beside,
    group_members,
    run,
    started,
    wait_for,
)
from tests.convert.stub_decoder import StubDecoder

FLAGS = ("--n-fft", 512, "--n-mels", 20, "--timeout", 3, "--workers", 2)
ENDS = {
    "segv": "its process was killed by SIGSEGV",
    "abort": "its process was killed by SIGABRT",
    "exit": "ended its process with exit code 7",
    "hang": "no progress for too long",
    "loop": "no progress for too long",
}
MODES = {
    "compiled": (),
    "with torch": ("--power", 1.5),
    "in this process": ("--workers", 0),
    "in this process with torch": ("--power", 1.5, "--workers", 0),
}


@pytest.fixture
def folder(tmp_path):
    return good_files(tmp_path / "in")


@pytest.fixture
def stub(tmp_path):
    return StubDecoder(tmp_path / "stub")


@pytest.mark.parametrize(
    ("n_good", "stuck"), [(0, "hang"), (1, "loop")], ids=["at-its-header", "at-its-samples"]
)
def test_crashes_and_hangs_cost_their_files_alone(folder, tmp_path, stub, n_good, stuck):
    store = tmp_path / "out" / "o.h5"
    store.parent.mkdir()
    assert run(folder, tmp_path / "clean.h5", *FLAGS).returncode == 0
    actions = ["segv", "abort", "exit", stuck]
    for action in actions:
        stub.write(folder / f"bb {action}.m4a", action, n_good)
    done = run(folder, store, *FLAGS, "--json", env=stub.environment)
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    expected = {f"bb {action}.m4a": ENDS[action] for action in actions}
    if n_good == 0:
        expected = {key: f"cannot be read: {reason}" for key, reason in expected.items()}
    assert dict(summary["failures"]) == expected
    assert (summary["n_converted"], summary["n_failed"], summary["n_found"]) == (5, 4, 9)
    for key, reason in expected.items():
        assert f"failed: {key}: {reason}" in done.stderr.splitlines()
    # found guilty the second time at the latest, not opened after that
    assert all(stub.n_opened(folder / key) <= n_good + 2 for key in expected)
    with open_store(store) as made, open_store(tmp_path / "clean.h5") as clean:
        assert dict(made.errors) == expected
        assert list(made) == list(clean)
        for key in clean:
            assert made[key].tobytes() == clean[key].tobytes()
    assert verify_store(store) == []
    assert_nothing_beside(store)


def test_a_pause_is_no_hang(folder, tmp_path, stub):
    """Ctrl-Z, or a cluster that suspends a job for another one."""
    slow = folder / "bb.m4a"
    stub.write(slow, "slow", 1)
    with started(folder, tmp_path / "o.h5", *FLAGS, env=stub.environment) as process:
        wait_for(lambda: stub.n_opened(slow) == 2, "the slow file", process)
        # long enough for the parent to see that it is in hand
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(4)
        os.killpg(process.pid, signal.SIGCONT)
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 3, errors
    # not a third time, by a worker in place of one that was killed
    assert stub.n_opened(slow) == 2
    assert "failed: bb.m4a: the decoder says: said enough" in errors


def test_what_killed_a_worker_twice_is_not_opened_again_after_a_kill(folder, tmp_path, stub):
    stub.write(folder / "a0.m4a", "segv", 1)
    stub.write(folder / "z.m4a", "hang", 1)
    store = tmp_path / "out" / "o.h5"
    store.parent.mkdir()
    with started(folder, store, *FLAGS, "--timeout", 60, env=stub.environment) as process:
        wait_for((store.parent / "o.h5.parts" / "poison.json").exists, "the verdict", process)
        assert stub.n_opened(folder / "a0.m4a") == 3
    stub.write(folder / "z.m4a", "segv", 1)
    done = run(folder, store, *FLAGS, env=stub.environment, small_parts=True)
    assert done.returncode == 3, done.stderr
    assert stub.n_opened(folder / "a0.m4a") == 3
    with open_store(store) as made:
        assert dict(made.errors) == {
            "a0.m4a": "its process was killed by SIGSEGV",
            "z.m4a": "its process was killed by SIGSEGV",
        }


@pytest.mark.skipif(sys.platform != "linux", reason="no other system counts data segments")
@pytest.mark.parametrize("mode", MODES)
def test_a_decoder_that_takes_memory_without_end_costs_its_file_alone(
    folder, tmp_path, stub, mode
):
    stub.write(folder / "b1.m4a", "grow", 0)
    stub.write(folder / "b2.m4a", "grow", 1)
    flags = (*FLAGS, *MODES[mode], "--json")
    done = run(folder, tmp_path / "o.h5", *flags, env=stub.environment)
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert {key: why.partition(" (")[0] for key, why in summary["failures"]} == {
        "b1.m4a": "not enough memory",
        "b2.m4a": "not enough memory",
    }
    assert summary["n_converted"] == 5


@pytest.mark.skipif(sys.platform != "linux", reason="no other system counts data segments")
def test_the_limit_is_gone_when_a_file_is_read(tmp_path):
    good_files(tmp_path / "in")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    convert_audio(tmp_path / "in", tmp_path / "o.h5", options=Options(workers=0))
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.skipif(sys.platform != "linux", reason="no other system counts data segments")
def test_the_limit_holds_while_parts_are_being_joined(folder, tmp_path, stub):
    for number in range(8):
        write_noise(folder / f"c{number}.wav", seed=number)
    stub.write(folder / "z.m4a", "grow", 0)
    flags = (*FLAGS, "--workers", 0, "--json")
    done = run(folder, tmp_path / "o.h5", *flags, env=stub.environment, small_parts=True)
    assert done.returncode == 3, done.stderr
    ((key, reason),) = json.loads(done.stdout)["failures"]
    assert (key, reason.partition(" (")[0]) == ("z.m4a", "not enough memory")


WITH_THREADS = """
import resource, threading
from specctl.convert.memory import decoding_limited
before = resource.getrlimit(resource.RLIMIT_DATA)
stop = threading.Event()
thread = threading.Thread(target=stop.wait)
for begin in (lambda: None, thread.start):
    begin()
    with decoding_limited():
        print(resource.getrlimit(resource.RLIMIT_DATA) != before)
stop.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system counts data segments")
def test_a_caller_with_threads_is_spared_the_limit():
    command = [sys.executable, "-c", WITH_THREADS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_what_a_decoder_says_goes_nowhere(folder, tmp_path, stub):
    stub.write(folder / "b1.m4a", "talk", 0)
    stub.write(folder / "b2.m4a", "talk", 1)
    done = run(folder, tmp_path / "o.h5", *FLAGS, "--json", env=stub.environment)
    assert done.returncode == 3
    assert len(json.loads(done.stdout)["failures"]) == 2
    assert "decoding" not in done.stdout + done.stderr


def test_strict_stops_at_a_crash(folder, tmp_path, stub):
    stub.write(folder / "bb.m4a", "segv", 1)
    done = run(folder, tmp_path / "o.h5", *FLAGS, "--strict", env=stub.environment)
    assert done.returncode == 1
    assert done.stderr == "specctl: cannot convert bb.m4a: its process was killed by SIGSEGV\n"


def test_a_dry_run_survives_a_decoder_that_hangs(folder, tmp_path, stub):
    stub.write(folder / "bb.m4a", "hang", 1)
    done = run(folder, tmp_path / "o.h5", *FLAGS, "--dry-run", env=stub.environment)
    assert done.returncode == 0, done.stderr
    assert "6 files" in done.stdout


def test_a_worker_in_the_middle_of_a_file_dies_with_its_parent(folder, tmp_path, stub):
    stub.write(folder / "bb.m4a", "hang", 1)
    with started(
        folder, tmp_path / "o.h5", *FLAGS, "--timeout", LIMIT, env=stub.environment
    ) as process:
        wait_for(lambda: stub.n_opened(folder / "bb.m4a") == 2, "the hang", process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: not list(group_members(process.pid)), "the workers to end", seconds=5)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_decoders_say_goes_into_no_file_where_stdout_and_stderr_are_closed(
    folder, tmp_path, stub, workers
):
    stub.write(folder / "bb.m4a", "talk", 1)
    done = run(
        *(folder, tmp_path / "o.h5", *FLAGS, "--workers", workers),
        small_parts=True,
        env=stub.environment,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: os.closerange(0, 3),
    )
    assert done.returncode == 3
    with open_store(tmp_path / "o.h5") as made:
        assert dict(made.errors) == {"bb.m4a": "the decoder says: said enough"}
    assert verify_store(tmp_path / "o.h5") == []
