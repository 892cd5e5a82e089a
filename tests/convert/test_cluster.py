"""Conversion on the workers of a Dask scheduler: the same store, whatever dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import dask
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Control, Options, Stopped, work_names
from specctl.convert.executors import Task
from specctl.convert.node import Terms, run_here, told_elsewhere
from specctl.errors import AudioError, KernelError, ParameterError, StoreError
from specctl.store.verify import verify_store
from specctl.version import __version__
from tests.convert.commands import (
    assert_nothing_beside,
    assert_same,
    environment,
    invoke,
    run,
    started,
    wait_for,
)
from tests.convert.dask_machines import machines
from tests.convert.stub_decoder import StubDecoder
from tests.convert.unfinished import stop_after_parts

CURE = "allow more there, or fewer threads of Dask workers"
FLAGS = ("--n-fft", 512, "--n-mels", 20)
SETTINGS = {"n_fft": 512, "n_mels": 20}
TIMEOUT = "distributed.comm.timeouts.connect"


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    return StubDecoder(tmp_path_factory.mktemp("stub"))


@pytest.fixture(scope="module")
def two_machines(tmp_path_factory, stub):
    with machines(tmp_path_factory.mktemp("dask") / "d", 2, stub.environment) as both:
        yield both


def test_machines_make_the_same_store_and_bad_files_cost_themselves(
    folder, store, tmp_path, stub, two_machines
):
    (folder / "empty.wav").write_bytes(b"")
    for action in ("segv", "hang"):
        stub.write(folder / f"{action}.m4a", action, n_good=1)
    flags = (*FLAGS, "--timeout", 2, "--json")
    # relative to a folder that is not that of the others
    done = run(
        "in", "out/o.h5", *flags, "--scheduler", two_machines.file,
        small_parts=True, env=stub.environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr + two_machines.log()
    summary = json.loads(done.stdout)
    assert dict(summary["failures"]) == {
        "empty.wav": "empty file",
        "hang.m4a": "no progress for too long",
        "segv.m4a": "its process was killed by SIGSEGV",
    }
    assert (summary["n_found"], summary["n_converted"], summary["workers"]) == (12, 9, 2)
    assert_nothing_beside(store)

    for path in folder.glob("*.m4a"):
        path.unlink()
    convert_audio(folder, tmp_path / "alone.h5", options=Options(workers=0), **SETTINGS)
    with open_store(store) as made, open_store(tmp_path / "alone.h5") as alone:
        assert made.records == alone.records
        for key in alone:
            assert made[key].tobytes() == alone[key].tobytes()
    assert verify_store(store) == []


@pytest.mark.usefixtures("small_parts")
def test_what_a_cluster_has_begun_goes_on_anywhere(folder, store, tmp_path, two_machines):
    there = Options(scheduler=two_machines.file)
    stop_after_parts(folder, store, 3, there, **SETTINGS)
    here = convert_audio(folder, store, options=Options(workers=0), **SETTINGS)
    assert 3 <= here.n_resumed < 9
    convert_audio(folder, tmp_path / "wanted.h5", options=there, **SETTINGS)
    assert_same(store, tmp_path / "wanted.h5")
    assert_nothing_beside(store)


@pytest.mark.usefixtures("small_parts")
def test_a_file_that_is_gone_meanwhile_costs_itself(folder, store, two_machines):
    there = Options(scheduler=two_machines.file)
    stop_after_parts(folder, store, 1, there, **SETTINGS)
    last = max(folder.rglob("*.*"))
    last.unlink()
    summary = convert_audio(folder, store, options=there, **SETTINGS)
    assert summary.failures == ((last.relative_to(folder).as_posix(), "no such file"),)


def test_a_machine_without_the_disk_is_named(folder, store, two_machines, monkeypatch):
    # every process has its own
    source = f"/proc/self/cwd/{folder.name}"
    monkeypatch.chdir(folder.parent)
    done = invoke(source, store, *FLAGS, "--scheduler", two_machines.file)
    assert done.returncode == 1
    assert f" does not see {source}" in done.stderr
    assert "all machines need SOURCE and STORE under the same paths" in done.stderr


def test_workers_may_come_when_they_are_wanted_and_die_and_a_lost_scheduler_costs_no_part(
    folder, store, tmp_path, stub
):
    stub.write(folder / "y.m4a", "slow", n_good=1)
    on_machines = {**stub.environment, "TMPDIR": str(tmp_path)}
    with machines(tmp_path / "dask", 0, on_machines) as some:
        flags = (*FLAGS, "--scheduler", some.file)
        with started(folder, store, *flags, env=stub.environment) as process:
            some.await_wanted(1, process)
            some.add_worker()
            for n_opened in (2, 3):
                wait_for(
                    lambda n=n_opened: stub.n_opened(folder / "y.m4a") == n, "a part", process
                )
                if n_opened == 2:
                    some.await_wanted(2, process)
                    os.kill(some.pid_of("worker"), signal.SIGKILL)
                else:
                    some.kill_scheduler()
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"scheduler {some.file} is gone; the same command goes on" in errors
    # what Dask has to say besides is for its own users
    assert "distributed" not in errors
    assert not [*tmp_path.glob("specctl-*")]
    done = run(folder, store, *FLAGS, "--json", env=stub.environment)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["n_resumed"] > 0
    assert json.loads(done.stdout)["failures"] == [["y.m4a", "the decoder says: said enough"]]
    assert_nothing_beside(store)


@pytest.mark.usefixtures("small_parts")
def test_workers_that_come_later_are_counted(folder, store, tmp_path, stub):
    n_done = set()
    with machines(tmp_path / "dask", 1, stub.environment) as some:

        def look(progress):
            if progress.stage == "converting" and progress.n_done and not n_done:
                n_done.add(progress.n_done)
                some.add_worker()
                some.await_threads(2)

        there = Options(scheduler=some.file)
        summary = convert_audio(folder, store, options=there, progress=look, **SETTINGS)
    assert (summary.n_converted, summary.workers) == (9, 2)


def test_what_nobody_waits_for_any_longer_ends(folder, store, stub, two_machines):
    file = folder / "long.m4a"
    stub.write(file, "hang", n_good=1)
    flags = (*FLAGS, "--scheduler", two_machines.file)
    with started(folder, store, *flags, env=stub.environment) as process:
        wait_for(lambda: stub.n_opened(file) == 2, "the part", process)
        process.kill()
    two_machines.await_in_hand(0)


@pytest.fixture
def without_specctl(tmp_path):
    """An environment in which there is none, however it is installed here."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "specctl.py").write_text("raise ModuleNotFoundError('not installed')")
    return environment(PYTHONPATH=str(tmp_path / "old"))


def test_a_scheduler_without_specctl_is_named(folder, store, tmp_path, without_specctl):
    with machines(tmp_path / "dask", 0, without_specctl) as some:
        done = invoke(folder, store, "--scheduler", some.file)
    assert done.returncode == 1
    assert "and its workers need the specctl that runs here: not installed" in done.stderr


def test_waiting_for_a_worker_ends_with_a_signal_and_one_without_specctl_is_named_and_lives(
    folder, store, tmp_path, without_specctl
):
    with machines(tmp_path / "dask", 0, environment()) as some:
        with started(folder, store, "--scheduler", some.file) as process:
            wait_for(lambda: "client connection" in some.log(), "the connection", process)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "specctl: stopped before the first file" in errors
        assert not any(store.parent.iterdir())

        some.add_worker(without_specctl)
        done = invoke(folder, store, "--scheduler", some.file)
        assert "Closing Nanny" not in some.log()
    assert done.returncode == 1
    assert "and its workers need the specctl that runs here: not installed" in done.stderr


def test_waiting_for_a_busy_worker_is_said_and_may_be_ended(folder, store, two_machines):
    control = Control()

    def look(progress):
        assert progress.stage == "waiting for workers"
        control.stop()

    there = Options(scheduler=two_machines.file)
    with two_machines.busy(), pytest.raises(Stopped, match="stopped before the first file"):
        convert_audio(folder, store, options=there, control=control, progress=look, **SETTINGS)
    assert not any(store.parent.iterdir())


def test_a_scheduler_that_does_not_answer_is_named_and_a_signal_ends_the_wait(folder, store):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with dask.config.set({TIMEOUT: "0.2s"}):
            done = invoke(folder, store, "--scheduler", address)
        assert done.returncode == 1
        assert f"cannot reach scheduler {address}: no answer" in done.stderr
        silent.accept()[0].close()
        with started(folder, store, "--scheduler", address) as process, silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"stopped: scheduler {address} has not answered; the same command goes on" in errors
    assert not any(store.parent.iterdir())


def _pid(_device):
    return os.getpid()


def test_conversions_that_take_turns_keep_their_processes_and_a_thread_each_to_end_them():
    kinds = [
        Terms("cpu", "specctl.convert.preload", 60.0),
        Terms("cpu", "specctl.convert.preload_torch", 60.0),
        Terms("cpu", "specctl.convert.preload", 30.0),
    ]
    before = threading.enumerate()
    pids = [run_here(Task(0, _pid, ()), terms).value for terms in 2 * kinds]
    assert pids == 2 * [pids[0], pids[1], pids[0]]
    timers = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
    assert sum(not (each in before or each.finished.is_set()) for each in timers) == 2


def test_a_dask_worker_that_ends_does_not_wait_for_its_processes():
    program = """
from specctl.convert import node
from specctl.convert.executors import Task
node._IDLE_SECONDS = 1e6
node.run_here(Task(0, max, ("",)), node.Terms("cpu", "os", 60.0))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ParameterError("device 'cuda' is not on this machine"), "device 'cuda' is not on {}"),
        (ParameterError("top_db must be"), "top_db must be"),
        (KernelError("cuda:0 is busy; give fewer with --workers"), "{}: cuda:0 is busy; " + CURE),
        (StoreError("cannot write /a: no space"), "{}: cannot write /a: no space"),
        (AudioError("cannot convert a.wav"), "cannot convert a.wav"),
    ],
    ids=lambda value: type(value).__name__ * isinstance(value, Exception),
)
def test_an_error_of_a_machine_is_told_where_it_is_another_one(error, said):
    told = told_elsewhere(error)
    assert type(told) is type(error)
    assert str(told) == said.format(socket.gethostname())


def test_too_few_files_for_a_process_are_those_of_the_machine(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (14, 14))
    task = Task(0, work_names.probe_all, ([],))
    terms = Terms("none", "specctl.convert.preload", 60.0)
    why = f"{socket.gethostname()}: cannot start 1 worker: 14 files may be open at a time, 15 are"
    with pytest.raises(StoreError, match=f"^{why} needed; {CURE}$"):
        run_here(task, terms)


def test_a_machine_of_another_version_is_refused():
    terms = Terms("cpu", "specctl.convert.preload", 60.0, version="0.0.9")
    with pytest.raises(StoreError, match=rf" has specctl {__version__}, this is 0\.0\.9; "):
        run_here(Task(0, work_names.describe, ()), terms)


@pytest.mark.parametrize("scheduler", ["nowhere.json", "htp://host:8786", "host:8786", "x" * 300])
def test_a_scheduler_that_cannot_be_one_is_a_wrong_setting(folder, store, scheduler):
    with pytest.raises(ParameterError, match="scheduler must be an address such as tcp://host"):
        convert_audio(folder, store, options=Options(scheduler=scheduler))


@pytest.mark.parametrize("scheduler", ["tcp://127.0.0.1", "tls://127.0.0.1:9"])
def test_an_address_that_does_not_suffice_is_named(folder, store, scheduler):
    # in a process that ends: a client that was left would speak then
    done = run(folder, store, "--scheduler", scheduler)
    assert done.returncode == 1
    assert done.stderr.startswith(f"specctl: cannot reach scheduler {scheduler}: ")
    assert done.stderr.count("\n") == 1


def test_a_file_that_no_scheduler_wrote_is_a_wrong_setting(folder, store, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ParameterError, match="scheduler must be the file that dask scheduler wr"):
        convert_audio(folder, store, options=Options(scheduler=tmp_path / "other.json"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"workers": 2}, "workers must not be given with a scheduler, which has its own"),
        ({"device": "cuda:1"}, "device must be auto, cpu or cuda with a scheduler"),
    ],
    ids=["workers", "device"],
)
def test_what_a_scheduler_decides_is_refused(folder, store, options, reason):
    with pytest.raises(ParameterError, match=reason):
        convert_audio(folder, store, options=Options(scheduler="tcp://127.0.0.1:9", **options))


def test_a_dry_run_on_a_cluster_is_refused(folder, store):
    done = invoke(folder, store, "--scheduler", "tcp://127.0.0.1:9", "--dry-run")
    assert done.returncode == 2
    assert "a dry run must be without a scheduler: it measures this machine" in done.stderr


def test_a_scheduler_that_cannot_be_reached_is_named(folder, store):
    with dask.config.set({TIMEOUT: "1s"}):
        done = invoke(folder, store, "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 1
    assert "cannot reach scheduler tcp://127.0.0.1:9: " in done.stderr
    assert not any(store.parent.iterdir())


def test_without_dask_the_extra_is_named(folder, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ParameterError, match=r"scheduler needs Dask.*specctl-audio\[cluster\]"):
        convert_audio(folder, store, options=Options(scheduler="tcp://127.0.0.1:9"))
