"""What all commands have in common: their name, and where they are called."""

import inspect
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from specctl.cli.commands import app
from tests.convert.commands import LIMIT, SPECCTL, environment

COMPLETE = {"_SPECCTL_COMPLETE": "complete_bash", "COMP_WORDS": "specctl co", "COMP_CWORD": "1"}


def run(*command, **options):
    return subprocess.run(
        [*map(str, command)],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        **{"env": environment(), **options},
    )


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("no-such-command",), {}),
        # completion of ``python -m specctl`` would be that of all Python
        ((), COMPLETE),
    ],
    ids=["mistake", "completion"],
)
def test_as_a_module_it_is_the_same_command(arguments, asked):
    env = environment(**asked)
    as_module = run(sys.executable, "-m", "specctl", *arguments, env=env)
    as_script = run(SPECCTL, *arguments, env=env)
    assert (as_module.returncode, as_module.stdout) == (as_script.returncode, as_script.stdout)
    assert as_module.stderr == as_script.stderr


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("convert --feature m", ["magnitude", "mel", "mfcc"]),
        ("convert --preset whi", ["whisper", "whisper-v3"]),
        ("convert --top-db n", ["none"]),
        ("convert --basis m", []),
        ("bench --work s", ["stft"]),
        ("train-basis --train f", ["frequencies"]),
    ],
)
def test_shells_complete_what_a_flag_takes(typed, words):
    typed = f"specctl {typed}"
    env = environment(**COMPLETE | {"COMP_WORDS": typed, "COMP_CWORD": "3"})
    assert run(SPECCTL, env=env).stdout.split() == words


def test_where_there_are_no_locks_the_command_says_so_and_the_modules_work():
    windows = "import sys; sys.modules.update(fcntl=None, resource=None); "
    done = run(sys.executable, "-c", windows + "from specctl.__main__ import main; main()")
    message = "specctl: the command runs on Linux and macOS; on Windows, try: WSL\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    modules = "import specctl; specctl.open_store; specctl.MelSpectrogram(sample_rate=8000)"
    assert run(sys.executable, "-c", windows + modules).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("bench", "--verify"),
        ("train-basis", "{folder}", "{folder}/b.safetensors"),
        ("export-basis", "{folder}/b.safetensors", "{folder}/b.onnx", "--to", "onnx"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_current_folder_that_is_gone_is_one_line(tmp_path, arguments):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = [SPECCTL, *(word.format(folder=tmp_path) for word in arguments)]
    done = run("sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *command, cwd=gone)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "specctl: the current folder is gone; change to another one\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_completion_that_finds_no_home_is_one_line(tmp_path):
    home = tmp_path / "file" / "home"
    home.parent.touch()
    env = environment(HOME=str(home))
    # a shell that waits, for Typer to see which one it is
    done = run("bash", "-c", '"$0" --install-completion; exit $?', SPECCTL, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"specctl: cannot write {home}: Not a directory\n"


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.name)
def test_help_breaks_its_lines_where_the_terminal_ends(command):
    _, *paragraphs = inspect.cleandoc(command.help or command.callback.__doc__).split("\n\n")
    assert [paragraph for paragraph in paragraphs if "\n" in paragraph.strip()] == []


@pytest.mark.parametrize("name", [None, *(command.name for command in app.registered_commands)])
def test_help_asks_no_value_of_a_switch(name):
    shown = CliRunner().invoke(app, [*([name] if name else []), "-h"]).stdout
    assert "--help" in shown
    assert "<bool>" not in shown


def test_help_names_every_flag_in_full_on_a_narrow_terminal():
    shown = run(SPECCTL, "convert", "-h", env=environment(COLUMNS="40")).stdout
    assert "--allow-truncated" in shown
    assert "…" not in shown
