"""Real kills: of everything, of a worker, of the parent. Nothing is lost, nothing done twice."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from specctl import convert_audio
from specctl.convert import Options
from tests.convert.audio_files import corpus
from tests.convert.commands import (
    PartsSeen,
    assert_nothing_beside,
    assert_same,
    group_members,
    invoke,
    parts_of,
    run,
    seen_parts,
    started,
    wait_for,
    worker_pids,
)

FLAGS = ("--n-fft", 1024, "--hop-length", 64, "--n-mels", 20, "--workers", 2)
SETTINGS = {"n_fft": 1024, "hop_length": 64, "n_mels": 20}
N_FILES = 30
N_KILLS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("kills") / "in", N_FILES, seconds=2)


@pytest.fixture(scope="module")
def wanted(folder):
    """What no interruption may change, made in this process."""
    store = folder.parent / "wanted.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
        convert_audio(folder, store, options=Options(workers=0), **SETTINGS)
    return store


@pytest.fixture(scope="module")
def durations(folder, tmp_path_factory):
    """Seconds until the plan is there and until the end, of a run that nobody disturbs."""
    store = tmp_path_factory.mktemp("measured") / "o.h5"
    began = time.monotonic()
    with started(folder, store, *FLAGS) as process:
        wait_for((store.parent / "o.h5.parts" / "job.json").exists, "the plan", process)
        planned = time.monotonic() - began
        process.communicate(timeout=60)
    assert process.returncode == 0
    return planned, time.monotonic() - began


@pytest.fixture
def store(tmp_path):
    return tmp_path / "o.h5"


def finish(folder: Path, store: Path, wanted: Path, *, by_command: bool) -> None:
    """Run the same job to its end, by the command or in here; no finished part may be touched."""
    before = parts_of(store)
    was_published = store.exists()
    seen = PartsSeen(store)
    if by_command:
        done = run(folder, store, *FLAGS, small_parts=True, tell_parts=True)
        assert done.returncode == 0, done.stderr
        seen.parts = {} if was_published else seen_parts(store)
    else:
        convert_audio(folder, store, options=Options(workers=0), progress=seen, **SETTINGS)
    if not was_published:
        assert {name: seen.parts[name] for name in before} == before
    assert_same(store, wanted)
    assert_nothing_beside(store)


@pytest.mark.parametrize("number", range(N_KILLS))
@pytest.mark.usefixtures("small_parts")
def test_a_kill_at_any_time_loses_nothing(folder, store, wanted, durations, number):
    planned, total = durations
    chance = random.Random(number)
    with started(folder, store, *FLAGS) as process:
        if number % 4 == 0:
            # anywhere before the plan: starting, finding files, reading headers
            time.sleep(chance.uniform(0, planned))
        else:
            # evenly over the rest: converting, joining, publishing, tidying up
            share = (number + chance.uniform(-0.5, 0.5)) / N_KILLS
            work = store.parent / "o.h5.parts" / "job.json"
            wait_for(lambda: work.exists() or process.poll() is not None, "the plan")
            time.sleep(max(0.0, share * (total - planned)))
    finish(folder, store, wanted, by_command=number % 7 == 0)


def test_a_run_that_is_killed_again_and_again_ends_all_the_same(folder, store, wanted):
    n_parts = []
    for n_enough in (1, 9):
        with started(folder, store, *FLAGS) as process:
            wait_for(lambda n=n_enough: len(parts_of(store)) >= n, "more parts", process)
            if n_enough == 1:
                # its workers end with it
                assert len(list(group_members(process.pid))) >= 4
                process.kill()
                process.wait()
                wait_for(lambda: not list(group_members(process.pid)), "the workers", seconds=5)
        n_parts.append(len(parts_of(store)))
    assert n_parts == sorted(n_parts)
    finish(folder, store, wanted, by_command=True)


@pytest.mark.usefixtures("small_parts")
def test_what_a_kill_leaves_may_be_damaged_and_may_stand_beside_the_finished_store(
    folder, store, wanted
):
    with started(folder, store, *FLAGS) as process:
        wait_for(lambda: len(parts_of(store)) >= 6, "some parts", process)
    work = store.parent / "o.h5.parts"
    copy = {path.name: path.read_bytes() for path in work.iterdir()}
    parts = sorted(work.glob("*.part"))
    (work / "000099.part.tmp-1").write_bytes(b"half")
    (work / "merged.h5").write_bytes(b"half")
    parts[0].write_bytes(parts[0].read_bytes()[:-1])
    parts[1].write_bytes(b"")
    damaged = bytearray(parts[2].read_bytes())
    damaged[-100] ^= 1
    parts[2].write_bytes(damaged)
    summary = convert_audio(folder, store, options=Options(workers=0), **SETTINGS)
    assert summary.n_resumed == len(parts) - 3
    assert_same(store, wanted)
    assert_nothing_beside(store)

    # as if it had been killed between publishing and tidying up
    before = store.stat()
    work.mkdir()
    for name, content in copy.items():
        (work / name).write_bytes(content)
    asked = invoke(folder, store, *FLAGS, "--dry-run")
    assert asked.stdout == "nothing to do\n"
    assert {path.name for path in work.iterdir()} == set(copy)
    done = invoke(folder, store, *FLAGS)
    assert done.returncode == 0
    assert f"is complete: {N_FILES} items, nothing to do" in done.stderr
    after = store.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert_nothing_beside(store)


def test_a_killed_worker_costs_nothing(folder, store, wanted):
    with started(folder, store, *FLAGS) as process:
        wait_for(lambda: parts_of(store), "the first part", process)
        workers = worker_pids(process)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: len(parts_of(store)) > 8 or process.poll() is not None, "more parts")
        for worker in worker_pids(process):
            os.kill(worker, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "failed" not in errors
    assert_same(store, wanted)
    assert_nothing_beside(store)
