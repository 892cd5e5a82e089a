"""Only one conversion writes a store, whatever the others do and however it ends."""

import fcntl
import os
import signal

import pytest

from specctl.convert.folder import WorkFolder
from specctl.errors import StoreError
from tests.convert.audio_files import corpus
from tests.convert.commands import (
    assert_nothing_beside,
    environment,
    group_members,
    parts_of,
    run,
    started,
    wait_for,
    worker_pids,
)
from tests.convert.stub_decoder import StubDecoder
from tests.faults.real_trials import with_workers
from tests.faults.sweep import wrong_end

N_ROUNDS = 3
NO_ORPHAN_AFTER = 5.0
NOTICED_WITHIN = 1.0
"""Seconds, both promised; they are ten times and more what is needed."""
FLAGS = ("--n-fft", 512)


@pytest.fixture
def scenario(sweep):
    return sweep.scenarios["convert"]


@pytest.mark.parametrize("n_at_once", [2, 8])
def test_of_many_at_once_one_writes_and_the_others_say_so(sweep, scenario, n_at_once):
    n_refused = 0
    for _ in range(N_ROUNDS):
        place = sweep.begin(scenario)
        ended = sweep.runner.run_together([scenario.command(place)] * n_at_once)
        for each in ended:
            if each.code == 0:
                assert "3 items" in each.errors
            else:
                n_refused += 1
                assert each.code == 1
                (line,) = each.errors.splitlines()
                assert line.startswith(f"specctl: {place / 'o.h5'} is being written by ")
                assert line.endswith("; wait for it or stop it")
        n_written = sum("3 files found: 3 converted" in each.errors for each in ended)
        assert n_written == 1
        assert wrong_end(scenario, place) == []
    assert n_refused > 0


def test_many_that_are_killed_at_once_lose_nothing(sweep, scenario):
    for number in range(N_ROUNDS):
        place = sweep.begin(scenario)
        commands = [scenario.command(place)] * 4
        sweep.runner.run_together(commands, kill_after=0.01 + number * 0.02)
        again = sweep.runner.run(*scenario.command(place))
        assert again.code == 0, again.errors
        assert wrong_end(scenario, place) == []


@pytest.mark.parametrize("content", [b"", b"process 1 on elsewhere\n", b"\xff\x00" * 300])
def test_a_lock_that_nobody_holds_does_not_matter(sweep, scenario, content):
    place = sweep.begin(scenario)
    (place / "o.h5.parts").mkdir()
    (place / "o.h5.parts" / "lock").write_bytes(content)
    ended = sweep.runner.run(*scenario.command(place))
    assert ended.code == 0, ended.errors
    assert wrong_end(scenario, place) == []


def test_the_lock_does_not_depend_on_the_locking_of_hdf5(sweep):
    scenario = sweep.scenarios["resume"]
    place = sweep.begin(scenario)
    before = {path.name: path.read_bytes() for path in (place / "o.h5.parts").iterdir()}
    command = scenario.command(place)
    _, *arguments = command
    with WorkFolder(place / "o.h5"):
        refused = f"is being written by process {os.getpid()} on "
        done = run(*arguments, env=environment(HDF5_USE_FILE_LOCKING="FALSE"))
        assert done.returncode == 1
        assert refused in done.stderr
        for more in ("--overwrite", "--update"):
            ended = sweep.runner.run(*command, more)
            assert ended.code == 1
            assert refused in ended.errors
        del before["lock"]
        after = {path.name: path.read_bytes() for path in (place / "o.h5.parts").iterdir()}
        assert {name: after[name] for name in before} == before
    done = run(*arguments, env=environment(HDF5_USE_FILE_LOCKING="FALSE"))
    assert done.returncode == 0, done.stderr
    assert wrong_end(scenario, place) == []


@pytest.mark.parametrize("moment", ["before it is opened", "before it is locked"])
def test_a_lock_that_its_holder_removes_at_this_moment_is_not_taken(tmp_path, monkeypatch, moment):
    first = WorkFolder(tmp_path / "o.h5")
    first.__enter__()
    module, name = (os, "open") if moment == "before it is opened" else (fcntl, "flock")
    real = getattr(module, name)

    def removed_meanwhile(*args):
        monkeypatch.setattr(module, name, real)
        first.remove()
        first.__exit__(None)
        return real(*args)

    monkeypatch.setattr(module, name, removed_meanwhile)
    with WorkFolder(tmp_path / "o.h5") as second:
        assert (second.path / "lock").exists()
        with pytest.raises(StoreError, match="is being written by"):
            WorkFolder(tmp_path / "o.h5").__enter__()
    assert not second.path.exists()


@pytest.fixture
def hanging(tmp_path):
    """A folder with a file in it whose conversion never ends, and the decoder that does that."""
    stub = StubDecoder(tmp_path / "stub")
    folder = corpus(tmp_path / "in", 3, seconds=0.2)
    stub.write(folder / "zz.m4a", "hang", 1)
    (tmp_path / "out").mkdir()
    return folder, stub


def test_a_dead_worker_is_noticed_at_once(hanging, tmp_path):
    folder, stub = hanging
    store = tmp_path / "out" / "o.h5"
    flags = (*FLAGS, "--workers", 1)
    with started(folder, store, *flags, env=stub.environment) as process:
        wait_for(lambda: stub.n_opened(folder / "zz.m4a") == 2, "the hang", process)
        (worker,) = worker_pids(process)
        os.kill(worker, signal.SIGKILL)
        wait_for(
            lambda: set(worker_pids(process)) - {worker},
            "another worker",
            process,
            seconds=NOTICED_WITHIN,
        )


def test_workers_that_die_while_they_start_are_replaced(sweep, scenario):
    place = sweep.begin(scenario)
    _, *arguments = with_workers(scenario, place)
    with started(*arguments) as process:
        killed = set()
        while len(killed) < 2:
            wait_for(lambda: set(worker_pids(process)) - killed, "a worker", process)
            for worker in set(worker_pids(process)) - killed:
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert wrong_end(scenario, place) == []


@pytest.mark.parametrize("moment", ["the fork server imports", "a worker hangs"])
def test_no_process_outlives_its_killed_parent(sweep, hanging, tmp_path, moment):
    folder, stub = hanging
    store = tmp_path / "out" / "o.h5"
    flags = (*FLAGS, "--workers", 2)
    with started(folder, store, *flags, env=stub.environment) as process:
        if moment == "a worker hangs":
            wait_for(lambda: stub.n_opened(folder / "zz.m4a") == 2, "the hang", process)
            wait_for(lambda: len(parts_of(store)) == 3, "the other parts", process)
        else:
            wait_for(lambda: len(list(group_members(process.pid))) > 1, "a child", process)
        process.kill()
        process.wait()
        wait_for(lambda: not list(group_members(process.pid)), "the end", seconds=NO_ORPHAN_AFTER)
    (folder / "zz.m4a").unlink()
    ended = sweep.runner.run("convert", folder, store, *FLAGS, "--workers", 0, "--overwrite")
    assert "3 converted" in ended.errors
    assert_nothing_beside(store)


def test_a_stopped_holder_still_holds_the_store(hanging, tmp_path):
    folder, stub = hanging
    store = tmp_path / "out" / "o.h5"
    with started(folder, store, *FLAGS, "--workers", 1, env=stub.environment) as process:
        wait_for(lambda: stub.n_opened(folder / "zz.m4a") == 2, "the hang", process)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            second = run(folder, store, *FLAGS, env=stub.environment)
        finally:
            os.kill(process.pid, signal.SIGCONT)
        assert second.returncode == 1
        assert f"is being written by process {process.pid} on " in second.stderr
