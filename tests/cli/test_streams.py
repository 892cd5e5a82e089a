"""stdout and stderr that cannot be written to."""

import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from specctl import convert_audio
from specctl.convert import Options
from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus
from tests.convert.commands import LIMIT, SPECCTL, environment, run_script

FULL = Path("/dev/full")

needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    convert_audio(corpus(folder / "in", 3), folder / "o.h5", options=Options(workers=0))
    return folder / "o.h5"


@needs_full
@pytest.mark.parametrize(
    "command",
    [
        # all of specctl writes by one stream, whatever the command
        ("info", "{store}", "--json"),
        ("convert", "{source}", "{store}", "--json", "-q"),
        ("presets",),
        # and Typer by itself
        ("--version",),
        ("--help",),
    ],
    ids=" ".join,
)
def test_an_answer_that_finds_no_room_is_an_error_in_a_line(store, command):
    arguments = [word.format(store=store, source=store.parent / "in") for word in command]
    with FULL.open("w") as full:
        done = run_script(*arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "specctl: cannot write to stdout: No space left on device\n"


@needs_full
def test_messages_that_find_no_room_do_not_stop_a_conversion(store, tmp_path):
    source = store.parent / "in"
    with FULL.open("w") as full:
        done = run_script("convert", source, tmp_path / "o.h5", "--workers", 2, stderr=full)
    assert (done.returncode, done.stdout) == (0, "")
    assert verify_store(tmp_path / "o.h5") == []


@needs_full
def test_an_error_that_cannot_be_said_is_still_an_exit_code(tmp_path):
    with FULL.open("w") as full:
        assert run_script("info", tmp_path / "none.h5", stderr=full).returncode == 1


@needs_full
@pytest.mark.parametrize("arguments", [("nonsense",), ("convert", "--nonsense")], ids=" ".join)
@pytest.mark.parametrize("is_closed", [False, True], ids=["full", "unread"])
def test_wrong_usage_that_cannot_be_said_is_still_its_exit_code(arguments, is_closed):
    with unread() if is_closed else FULL.open("w") as stream:
        done = run_script(*arguments, stderr=stream)
    assert (done.returncode, done.stdout) == (2, "")


def unread():
    """A pipe whose reader has gone, as ``| head`` goes when it has seen enough."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


def test_nobody_has_to_read_to_the_end(store, tmp_path):
    source = store.parent / "in"
    process = subprocess.Popen(
        [SPECCTL, "convert", source, tmp_path / "o.h5", "--workers", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    # whoever reads the messages goes away
    process.stderr.close()
    assert process.wait(LIMIT) == 0
    assert verify_store(tmp_path / "o.h5") == []


@pytest.mark.parametrize(
    "command",
    [
        ("info", "{store}", "--keys"),
        ("verify", "{store}"),
        ("convert", "{source}", "{store}", "--json", "-q"),
        ("presets",),
        ("--version",),
        ("--help",),
        (),
    ],
    ids=" ".join,
)
def test_an_answer_that_nobody_reads_is_no_failure(store, command):
    arguments = [word.format(store=store, source=store.parent / "in") for word in command]
    with unread() as pipe:
        done = run_script(*arguments, stdout=pipe)
    # of "verify", 1 says that something is damaged
    assert (done.returncode, done.stderr) == (141, "")


def test_names_that_an_encoding_lacks_are_escaped(tmp_path):
    source = corpus(tmp_path / "in", 1)
    (source / "\xfc\u3042.wav").write_bytes(b"no sound")
    env = environment(PYTHONIOENCODING="ascii:strict")
    done = run_script("convert", source, tmp_path / "o.h5", env=env)
    assert done.returncode == 3
    assert "failed: \\xfc\\u3042.wav" in done.stderr
    env = environment(PYTHONIOENCODING="latin-1:strict")
    done = run_script("info", tmp_path / "o.h5", env=env, text=False)
    assert done.returncode == 0, done.stderr
    assert "\xfc\\u3042.wav" in done.stdout.decode("latin-1")


def test_a_terminal_that_is_gone_does_not_stop_a_conversion(store, tmp_path):
    source = store.parent / "in"
    child, terminal = pty.fork()
    if child == 0:
        # as for a job that its shell has let go
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.execv(SPECCTL, [SPECCTL, "convert", source, tmp_path / "o.h5"])
    assert os.read(terminal, 1)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert verify_store(tmp_path / "o.h5") == []


@pytest.mark.parametrize("arguments", [("--help",), ("info", "{store}")], ids=" ".join)
def test_a_terminal_without_a_size_is_no_reason_to_be_silent(store, arguments):
    arguments = [each.format(store=store) for each in arguments]
    done = run_script(*arguments, env=environment(COLUMNS="0", LINES="0"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "store" in done.stdout


def test_a_list_from_a_closed_stdin_is_empty(tmp_path):
    command = [SPECCTL, "convert", "--files-from", "-", tmp_path / "o.h5"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 2
    assert done.stderr == "specctl: sources must name at least one file or folder, got none\n"
