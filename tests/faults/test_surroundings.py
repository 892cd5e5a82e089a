"""Little of what a machine has to give, and few rights: a conversion works all the same."""

import os
import resource
import shutil
import subprocess
import sys
import time

import pytest

from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus
from tests.convert.commands import (
    LIMIT,
    argv,
    environment,
    group_members,
    run,
    run_script,
    started,
)
from tests.faults.sweep import wrong_end
from tests.group_files import said_in_a_real_group

NOBODY = 65534
N_FILES = 64


@pytest.fixture
def scenario(sweep):
    return sweep.scenarios["convert"]


@pytest.fixture
def place(sweep, scenario):
    return sweep.begin(scenario)


def command(scenario, place):
    """Arguments of a conversion by two workers."""
    _, *arguments = scenario.command(place)
    return (*map(str, arguments), "--workers", "2")


def check(done, scenario, place):
    assert done.returncode == 0, done.stderr
    assert wrong_end(scenario, place) == []


def test_little_of_all_is_enough(scenario, place, tmp_path):
    """64 open files, one processor, a careful umask, and a long name for temporary files.

    The job of a cluster may get such a name; that of a socket has 107 bytes at most.
    """
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    one = {min(os.sched_getaffinity(0))}

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (N_FILES, N_FILES))
        os.sched_setaffinity(0, one)
        os.umask(0o077)

    env = environment(TMPDIR=str(deep))
    done = run(*command(scenario, place), small_parts=True, preexec_fn=limit, env=env)
    check(done, scenario, place)
    assert (place / "o.h5").stat().st_mode & 0o777 == 0o600
    assert list(deep.iterdir()) == []


@pytest.mark.parametrize(("n_files", "fitting"), [(14, 0), (20, 2)])
def test_too_few_open_files_are_said_in_a_line(tmp_path, n_files, fitting):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_files, n_files))

    folder = corpus(tmp_path / "in", 6, seconds=0.2)
    (tmp_path / "out").mkdir()
    store = tmp_path / "out" / "o.h5"
    done = run_script("convert", folder, store, "--workers", 6, preexec_fn=limit)
    assert done.returncode == 1
    assert done.stderr == (
        f"specctl: cannot start {fitting + 1} worker{'s' * (fitting > 0)}: {n_files} files may "
        f"be open at a time, {15 + 3 * fitting} are needed; allow more with ulimit -n, or pass "
        f"--workers {fitting}\n"
    )
    assert list(store.parent.iterdir()) == []
    fewer = run_script("convert", folder, store, "--workers", fitting, preexec_fn=limit)
    assert fewer.returncode == 0, fewer.stderr
    assert verify_store(store) == []


ADVICE = "allow more memory or processes (ulimit -u), or"
NO_PROCESS = f"there is no process for the last one; {ADVICE} pass --workers"


@pytest.mark.parametrize(
    ("n_processes", "said"),
    [
        (2, "workers: Resource temporarily unavailable; pass --workers 0 to do without"),
        (4, f"1 worker: {NO_PROCESS} 0"),
        (5, f"2 workers: {NO_PROCESS} 1"),
    ],
)
def test_too_few_processes_are_said_in_a_line(tmp_path, n_processes, said):
    """Of which the command, the server and the tracker of resources are three.

    A server that cannot fork ends, and its workers with it; the first of two may be missed before
    the second is given up.
    """
    folder = corpus(tmp_path / "in", 6, seconds=0.2)
    command = argv(folder, tmp_path / "o.h5", "--workers", 2)
    program = f"import subprocess; print(subprocess.run({command}, stderr=-1).stderr.decode())"
    lines = {f"specctl: cannot start {said}\n\n"}
    if n_processes == 5:
        missed = "the workers cannot start: ended its process with exit code 255"
        lines.add(f"specctl: {missed}; {ADVICE} have fewer workers\n\n")
    text = said_in_a_real_group("pids", "pids.max", str(n_processes), program)
    # on a machine with much else to do
    assert text.replace("waiting for workers\n", "") in lines
    assert not (tmp_path / "o.h5.parts").exists()


def test_no_more_workers_start_than_there_are_files(scenario, place):
    arguments = [*command(scenario, place), "--workers", 40]
    with started(*arguments, small_parts=False) as process:
        most = 0
        while process.poll() is None:
            most = max(most, len(list(group_members(process.pid))))
            time.sleep(0.01)
        _, messages = process.communicate()
    n_others = 3  # the command, the fork server, the tracker of resources
    assert 3 <= most <= 3 + n_others, messages
    assert verify_store(place / "o.h5") == []


@pytest.fixture
def powerless():
    """What goes before a command so that it has an ordinary user's rights."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def test_a_read_only_source_is_enough(scenario, place, powerless):
    source = scenario.arguments[0]
    everything = [source, *source.rglob("*")]
    modes = {path: path.stat().st_mode for path in everything}
    try:
        for path in everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        inside = subprocess.run(
            [*powerless, *argv(source, source / "o.h5", "--n-fft", 512)],
            check=False,
            capture_output=True,
            text=True,
            env=environment(),
            timeout=LIMIT,
        )
        done = subprocess.run(
            [*powerless, *argv(*scenario.command(place)[1:], small_parts=True)],
            check=False,
            capture_output=True,
            text=True,
            env=environment(),
            timeout=LIMIT,
        )
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert inside.returncode == 1
    assert inside.stderr == f"specctl: cannot write {source}/o.h5.parts: Permission denied\n"
    check(done, scenario, place)


@pytest.fixture
def open_way(sweep):
    """Lets every user pass through the folders above."""
    modes = {folder: folder.stat().st_mode for folder in (sweep.folder, *sweep.folder.parents)}
    closed = {folder: mode for folder, mode in modes.items() if not mode & 1}
    for folder, mode in closed.items():
        folder.chmod(mode | 0o011)
    yield
    for folder, mode in closed.items():
        folder.chmod(mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="this is an ordinary user")
@pytest.mark.usefixtures("open_way")
def test_an_ordinary_user_is_enough(sweep, scenario, place):
    os.chown(place, NOBODY, NOBODY)
    ended = sweep.runner.run(*scenario.command(place), user=NOBODY)
    assert ended.code == 0, ended.errors
    assert wrong_end(scenario, place) == []
    assert (place / "o.h5").stat().st_uid == NOBODY


def test_what_a_user_calls_his_scripts_is_of_no_account(scenario, place, tmp_path):
    """A Python that is started as workers are looks into the current folder first."""
    for name in ("random", "struct", "threading", "numpy", "soundfile", "specctl"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a script of the user')\n")
    done = run_script("convert", *command(scenario, place), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert verify_store(place / "o.h5") == []


@pytest.mark.parametrize("flags", [(), ("--workers", 0)], ids=["workers", "none"])
def test_a_current_folder_that_is_gone_is_said_in_a_line(flags, scenario, place, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = run_script(
        "convert", ".", *command(scenario, place), *flags, cwd=gone, preexec_fn=gone.rmdir
    )
    assert done.returncode == 1
    assert done.stderr == "specctl: the current folder is gone; change to another one\n"


@pytest.mark.parametrize(
    "options",
    [(), ("--dry-run",), ("--dry-run", "--workers", 0)],
    ids=["converted", "dry run", "dry run in one process"],
)
def test_one_folder_that_may_be_written_to_is_enough(scenario, place, options):
    """As in a container whose file system is read only; a little shared memory may be used."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    script = """
    mount --bind "$1" "$1" && mount -t tmpfs -o size=$2 tmpfs /dev/shm || exit
    for folder in /tmp /var/tmp /; do
        ! mountpoint -q $folder || mount -o remount,bind,ro $folder || exit
    done
    shift 2 && cd / && exec "$@"
    """
    # a dry run converts a little there
    shared_memory = "1m" if options else "4k"
    private = ["unshare", "-m", "sh", "-c", script, "sh", str(place), shared_memory]
    if subprocess.run([*private, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("cannot mount the file system without the right to write")
    done = subprocess.run(
        [*private, *argv(*command(scenario, place), *options, small_parts=True)],
        check=False,
        capture_output=True,
        text=True,
        env=environment(TMPDIR="/tmp"),
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    if "--dry-run" not in options:
        assert wrong_end(scenario, place) == []


def run_program(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        env=environment(),
    )


FORKED_LATER = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from specctl import convert_audio
from specctl.convert import Options

def convert(store):
    return convert_audio(sys.argv[1], store, options=Options(workers=1)).n_items

store = Path(sys.argv[2])
print(convert(store.with_name("first.h5")))
with ProcessPoolExecutor(1, get_context("fork")) as pool:
    print(*pool.map(convert, [store, store.with_name("third.h5")]))
print(convert(store.with_name("fourth.h5")))
"""


def test_a_process_that_was_forked_after_a_conversion_has_workers_of_its_own(scenario, place):
    source = command(scenario, place)[0]
    done = run_program(FORKED_LATER, source, place / "o.h5")
    assert done.stdout.split() == ["3"] * 4, done.stderr
    assert verify_store(place / "o.h5") == []


IN_A_POOL = """
import sys
from multiprocessing import get_context
from pathlib import Path
from resource import RLIMIT_DATA, getrlimit
from specctl import convert_audio
from specctl.convert import Options

def convert(workers):
    source, store = map(Path, sys.argv[1:])
    before = getrlimit(RLIMIT_DATA)
    options = Options(workers=workers, overwrite=True)
    done = convert_audio(source, store, options=options)
    return done.n_items, done.workers, getrlimit(RLIMIT_DATA) == before

with get_context("fork").Pool(1) as pool:
    print(*pool.map(convert, [2, None]), sep="\\n")
"""


def test_a_worker_of_somebody_has_workers_only_where_they_are_asked_for(scenario, place):
    source = command(scenario, place)[0]
    done = run_program(IN_A_POOL, source, place / "o.h5")
    assert done.stdout.splitlines() == ["(3, 2, True)", "(3, 0, True)"], done.stderr
    assert verify_store(place / "o.h5") == []
