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
    "grow": "not enough memory",
    "talk": "the decoder says: said enough",
}
COUNTS_DATA = sys.platform == "linux"
limiting_data = pytest.mark.skipif(not COUNTS_DATA, reason="no other system counts data segments")


@pytest.fixture
def folder(tmp_path):
    return good_files(tmp_path / "in")


@pytest.fixture
def stub(tmp_path):
    return StubDecoder(tmp_path / "stub")


def failed_reasons(done):
    """Key to reason, as told to programs; how much memory there was is left out."""
    return {key: why.partition(" (")[0] for key, why in json.loads(done.stdout)["failures"]}


def test_faults_of_decoders_cost_their_files_alone(folder, tmp_path, stub):
    store = tmp_path / "out" / "o.h5"
    store.parent.mkdir()
    convert_audio(folder, tmp_path / "clean.h5", options=Options(workers=0), n_fft=512, n_mels=20)
    # at its header, and at its samples
    crashing = {0: ["segv", "abort", "exit", "hang"], 1: ["segv", "abort", "exit", "loop"]}
    said, deaths = {}, {}
    for n_good, actions in crashing.items():
        for action in actions:
            key = f"bb {n_good} {action}.m4a"
            deaths[key] = ENDS[action] if n_good else f"cannot be read: {ENDS[action]}"
            stub.write(folder / key, action, n_good)
        for action in ("talk", "grow") if COUNTS_DATA else ("talk",):
            key = f"c {n_good} {action}.m4a"
            said[key] = ENDS[action]
            stub.write(folder / key, action, n_good)
    done = run(folder, store, *FLAGS, "--json", env=stub.environment)
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert failed_reasons(done) == {**deaths, **said}
    n_bad = len(deaths) + len(said)
    assert (summary["n_converted"], summary["n_failed"], summary["n_found"]) == (
        5,
        n_bad,
        5 + n_bad,
    )
    for key, reason in deaths.items():
        assert f"failed: {key}: {reason}" in done.stderr.splitlines()
    # what a decoder says goes nowhere
    assert "decoding" not in done.stdout + done.stderr
    # found guilty the second time at the latest, not opened after that
    assert all(stub.n_opened(folder / key) <= int(key.split()[1]) + 2 for key in deaths)
    with open_store(store) as made, open_store(tmp_path / "clean.h5") as clean:
        assert dict(made.errors) == dict(summary["failures"])
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


@limiting_data
@pytest.mark.parametrize(
    "workers", [2, pytest.param(0, marks=pytest.mark.thorough)], ids=["workers", "here"]
)
def test_a_decoder_beside_torch_may_take_as_little_memory(folder, tmp_path, stub, workers):
    for n_good in (0, 1):
        stub.write(folder / f"b{n_good}.m4a", "grow", n_good)
    flags = (*FLAGS, "--power", 1.5, "--workers", workers, "--json")
    done = run(folder, tmp_path / "o.h5", *flags, env=stub.environment)
    assert done.returncode == 3, done.stderr
    assert failed_reasons(done) == dict.fromkeys(["b0.m4a", "b1.m4a"], ENDS["grow"])
    assert json.loads(done.stdout)["n_converted"] == 5


@limiting_data
def test_the_limit_is_gone_when_a_file_is_read(tmp_path):
    good_files(tmp_path / "in")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    convert_audio(tmp_path / "in", tmp_path / "o.h5", options=Options(workers=0))
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@limiting_data
def test_the_limit_holds_in_the_commands_own_process_and_while_parts_are_being_joined(
    folder, tmp_path, stub
):
    for number in range(8):
        write_noise(folder / f"c{number}.wav", seed=number)
    for n_good, name in enumerate(["y.m4a", "z.m4a"]):
        stub.write(folder / name, "grow", n_good)
    flags = (*FLAGS, "--workers", 0, "--json")
    done = run(folder, tmp_path / "o.h5", *flags, env=stub.environment, small_parts=True)
    assert done.returncode == 3, done.stderr
    assert failed_reasons(done) == dict.fromkeys(["y.m4a", "z.m4a"], ENDS["grow"])


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


@limiting_data
def test_a_caller_with_threads_is_spared_the_limit():
    command = [sys.executable, "-c", WITH_THREADS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "False"], done.stderr


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
