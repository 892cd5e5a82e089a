"""``specctl convert`` as a command: what it says, where, and its exit code."""

import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

from specctl import open_store
from specctl.cli import commands  # noqa: F401 - registers all commands
from specctl.cli.app import app
from specctl.cli.progress import ConvertProgress
from specctl.config import SpectrogramConfig
from specctl.convert import Progress
from specctl.dsp.mel import mel_weights
from specctl.presets import PRESETS
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import argv, assert_nothing_beside, environment, run, run_script

FLAGS = ("--n-fft", 512, "--n-mels", 20, "--workers", 0)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ESCAPE = "\x1b"


def invoke(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    return corpus(tmp_path / "in", 4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder and a store of it, not to be changed."""
    place = tmp_path_factory.mktemp("finished")
    (place / "out").mkdir()
    store = place / "out" / "o.h5"
    assert invoke(corpus(place / "in", 4), store, *FLAGS).exit_code == 0
    return place / "in", store


@pytest.fixture
def store(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "o.h5"


def test_the_report_goes_to_stderr_in_plain_lines(folder, store):
    # colours may be asked for where no bar can move, as in the logs of CI
    done = run(folder, store, *FLAGS, env=environment(FORCE_COLOR="1"))
    assert (done.returncode, done.stdout) == (0, "")
    assert ESCAPE not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"{store}: 4 items, ")
    assert lines[1] == "4 files found: 4 converted"
    assert lines[2] == "sample rate 16000 Hz"
    assert re.fullmatch(r"[\d.]+ s of audio in .* s, [\d,.]+ × real time", lines[3])
    assert "bottleneck: " in lines[4]
    for stage in ("decode", "resample", "transform", "compress", "write"):
        assert f"{stage} " in lines[4]


@pytest.mark.parametrize("flags", [(), ("--dry-run",), ("--dry-run", "--json"), ("--json",)])
def test_a_pattern_that_is_of_no_file_is_named(folder, store, flags):
    done = invoke(folder, store, *FLAGS, "--exclude", "in/x", "--exclude", "y", *flags)
    assert done.exit_code == 0
    lines = [line for line in done.stderr.splitlines() if "no audio file matches" in line]
    assert lines == [
        "no audio file matches 'in/x'; patterns are of names, or of paths that begin inside the "
        "source folder"
    ]
    if "--json" in flags:
        assert json.loads(done.stdout)["patterns_unused"] == ["in/x"]
    quiet = invoke(folder, store, *FLAGS, "--exclude", "in/x", "--overwrite", "--quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")


def test_json_is_one_object_on_stdout(folder, store):
    (folder / "bad.wav").write_bytes(b"")
    done = invoke(folder, store, *FLAGS, "--json")
    assert done.exit_code == 3
    summary = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert summary["store"] == str(store)
    assert summary["n_found"] == 5
    assert summary["failures"] == [["bad.wav", "empty file"]]
    assert summary["bottleneck"] in summary["seconds"]
    assert "failed: bad.wav: empty file" in done.stderr.splitlines()


def test_json_of_an_error_is_nothing(folder, store):
    done = invoke(folder / "nope", store, *FLAGS, "--json")
    assert (done.exit_code, done.stdout) == (1, "")


def test_quiet_says_nothing_but_errors(folder, store):
    done = invoke(folder, store, *FLAGS, "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    (folder / "bad.wav").write_bytes(b"")
    done = invoke(folder, store, *FLAGS, "-q", "--overwrite")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "failed: bad.wav: empty file\n"


def test_verbose_says_what_was_skipped_and_why_this_kernel(folder, store):
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "again.wav").symlink_to("x/000.wav")
    done = invoke(folder, store, *FLAGS, "-v")
    assert done.exit_code == 0
    lines = done.stderr.splitlines()
    assert "skipped: gone.wav: a symbolic link that leads nowhere" in lines
    assert "skipped: again.wav: the same file as x/000.wav" in lines
    assert "6 files found: 4 converted, 2 skipped" in lines
    assert any(line.startswith("kernel fft on cpu: ") for line in lines)
    # also where they are all that an update finds
    lines = invoke(folder, store, *FLAGS, "-v", "--update").stderr.splitlines()
    assert "skipped: gone.wav: a symbolic link that leads nowhere" in lines


def on_a_terminal(*arguments, **changes):
    """Exit code and all that a terminal shows of a command."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        argv(*arguments), stdout=theirs, stderr=theirs, env=environment(TERM="xterm", **changes)
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 65536):
                shown += data
        except OSError:  # the other end was closed
            pass
    os.close(ours)
    return process.returncode, shown.decode()


def test_a_terminal_shows_a_bar_and_colours_unless_told_not_to(folder, tmp_path):
    (folder / "bad.wav").write_bytes(b"")
    code, shown = on_a_terminal(folder, tmp_path / "1.h5", *FLAGS)
    assert code == 3
    assert "looking for files" in shown
    assert "writing the store" in shown
    assert "━" in shown
    assert "\x1b[31mfailed: bad.wav: empty file" in shown
    code, shown = on_a_terminal(folder, tmp_path / "2.h5", *FLAGS, NO_COLOR="1")
    assert code == 3
    assert "failed: bad.wav: empty file" in shown
    # bold and the like are no colours
    codes = {code for found in COLOUR.findall(shown) for code in found[2:-1].split(";")}
    assert codes <= {"", "0", "1", "2", "3", "4"}


def test_a_dry_run_makes_nothing_and_tells_what_would_be_made(folder, store, tmp_path):
    (folder / "bad.wav").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    told = invoke(folder, store, *FLAGS, "--dry-run", "--json")
    assert told.exit_code == 0, told.stderr
    estimate = json.loads(told.stdout)
    assert (estimate["n_found"], estimate["n_unreadable"]) == (5, 1)
    assert sorted(tmp_path.rglob("*")) == before
    assert invoke(folder, store, *FLAGS).exit_code == 3
    size = store.stat().st_size
    assert size / 4 < estimate["n_bytes"] < size * 4
    assert estimate["audio_hours"] * 3600 == pytest.approx(4.06)


@pytest.mark.parametrize("tail", ["pad", "drop"])
@pytest.mark.parametrize("overlap", [0, 0.4])
def test_a_dry_run_counts_segments(folder, store, tail, overlap):
    write_noise(folder / "short.wav", 0.3)
    flags = ("--segment", 0.5, "--overlap", overlap, "--tail", tail, "--compression", "none")
    estimate = json.loads(invoke(folder, store, *FLAGS, *flags, "--dry-run", "--json").stdout)
    done = json.loads(invoke(folder, store, *FLAGS, *flags, "--json").stdout)
    assert estimate["n_too_short"] == done["n_failed"] == (tail == "drop")
    size = store.stat().st_size
    assert size / 4 < estimate["n_bytes"] < size * 4


@pytest.mark.parametrize("store_name", [[], ["new.h5"], ["new.store"]])
def test_a_dry_run_needs_no_store(folder, tmp_path, store_name):
    names = [tmp_path / name for name in store_name]
    result = invoke(folder, *names, "--dry-run", *FLAGS)
    assert result.exit_code == 0, result.stderr
    assert "4 files, 4.06 s of audio" in result.stdout
    assert result.stderr == ""
    assert os.listdir(tmp_path) == ["in"]


def test_a_dry_run_of_several_folders_takes_them_all(folder, tmp_path):
    more = corpus(tmp_path / "more", 2)
    result = invoke(folder, more, "--dry-run", *FLAGS)
    assert "6 files" in result.stdout
    result = invoke(folder / "x" / "000.wav", more / "x" / "000.wav", "--dry-run", *FLAGS)
    assert "2 files" in result.stdout


def test_a_dry_run_says_what_is_left_to_do(folder, store, tmp_path):
    def dry(*flags):
        result = invoke(folder, store, *FLAGS, "--dry-run", *flags)
        assert_nothing_beside(store)
        return result.exit_code, result.stdout or result.stderr

    assert invoke(folder, store, *FLAGS).exit_code == 0
    assert dry() == (0, "nothing to do\n")
    assert dry("--update") == (0, "nothing to do, 4 unchanged\n")
    write_noise(folder / "new.wav")
    assert dry() == (0, "nothing to do\n")
    code, told = dry("--update")
    assert (code, told.splitlines()[0]) == (0, "5 files, 1 s of audio, 4 unchanged")
    code, told = dry("--overwrite")
    assert (code, told.splitlines()[0]) == (0, "5 files, 5.06 s of audio")


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("out/o.h5", ("--n-mels", 9), "with other settings: n_mels 20 there, 9 here"),
        (
            "out/o.h5",
            ("--include", "*"),
            "already exists, made from the same sources without --include; ",
        ),
        ("out/o.h5", ("--labels", "folder"), "made from the same files without --labels; pass"),
        ("out/none/o.h5", (), "no such folder"),
        (f"out/{'n' * 300}.h5", (), "File name too long"),
    ],
)
def test_a_dry_run_refuses_what_the_conversion_would(finished, name, flags, message):
    folder, store = finished
    result = invoke(folder, store.parent.parent / name, *FLAGS, "--dry-run", *flags)
    assert result.exit_code == 1
    assert message in result.stderr


def test_settings_of_a_file_give_way_to_flags(folder, store, tmp_path):
    toml = tmp_path / "settings.toml"
    toml.write_text('preset = "librosa"\nn_fft = 1024\nn_mels = 30\ndtype = "float16"\n')
    assert invoke(folder, store, "--config", toml, "--n-mels", 20, "-j", 0).exit_code == 0
    with open_store(store) as made:
        chosen = {name: made.config[name] for name in ("n_fft", "n_mels", "dtype")}
    assert chosen == {"n_fft": 1024, "n_mels": 20, "dtype": "float16"}
    # one name that is none, and names of what the command hands on besides settings
    for name, hint in {"n_ftf": "; did you mean n_fft", "store": "", "sources": ""}.items():
        toml.write_text(f"{name} = 1024\n")
        result = invoke(folder, store, "--config", toml)
        assert result.exit_code == 2, result.exception
        assert result.stderr == f"specctl: there is no setting {name!r}{hint}\n"


def test_narrow_bands_need_a_bin_at_the_rate_that_is_found_only(folder, store):
    # at 768 kHz, which leaves room for every fmax, bins are 1500 Hz apart
    flags = ("--n-fft", 512, "--fmin", 50, "--fmax", 500, "--n-mels", 4)
    result = invoke(folder, store, *flags, "--workers", 0)
    assert result.exit_code == 0, result.stderr
    assert "FFT bin" not in result.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--fmax", 1000, "--segment", 0.5, "--no-center", "--n-fft", 4096),
        ("--fmax", 100, "--segment", 0.1, "--overlap", 0.099, "--n-fft", 512),
    ],
    ids=["a frame", "a step"],
)
def test_segments_need_room_at_the_rate_that_is_found_only(folder, store, flags):
    result = invoke(folder, store, "--n-mels", 2, *flags, "--workers", 0)
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("place", [(), ("--dry-run",)], ids=["report", "dry-run"])
def test_says_how_many_mel_bands_are_empty(folder, store, place):
    flags = ("--n-fft", 256, "--n-mels", 128, "--workers", 0, *place)
    result = invoke(folder, store, *flags)
    assert result.exit_code == 0, result.stderr
    config = SpectrogramConfig.resolve(sample_rate=16000, n_fft=256, n_mels=128)
    n_empty = (~mel_weights(config).any(axis=1)).sum()
    assert n_empty > 1
    line = f"{n_empty} of 128 mel bands have no FFT bin: raise n_fft or lower n_mels"
    assert line in result.stderr.splitlines()
    assert "mel bands" not in invoke(folder, store, *flags, "--quiet", "--overwrite").stderr


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_nobody_is_told_of_bands_of_presets_and_defaults(finished, tmp_path, preset):
    given = ("--preset", preset) if preset else ()
    result = invoke(finished[0], tmp_path / "o.h5", *given, "--dry-run", "--workers", 0)
    assert (result.exit_code, result.stderr) == (0, "")


def test_names_that_are_not_utf8_are_reported(tmp_path):
    folder = tmp_path / os.fsdecode(b"in \xff")
    write_noise(folder / "a.wav")
    (folder / os.fsdecode(b"b\xe9.wav")).write_bytes(b"")
    store = folder / os.fsdecode(b"o\xfe.h5")
    done = run(folder, store, *FLAGS, "--json")
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["failures"] == [["b%E9.wav", "empty file"]]
    assert "failed: b%E9.wav: empty file" in done.stderr
    assert invoke(folder, store, *FLAGS).exit_code == 0
    assert invoke(folder, store, *FLAGS, "--n-fft", 64).exit_code == 1


def test_the_installed_command_works(folder, store):
    assert run_script("convert", folder, store, "--n-fft", 512).returncode == 0
    assert_nothing_beside(store)


def test_help_has_an_example_and_says_what_the_exit_code_means():
    result = CliRunner().invoke(app, ["convert", "--help"])
    assert result.exit_code == 0
    assert "specctl convert recordings/ out.h5" in result.stdout
    assert "exit code 3" in " ".join(result.stdout.split())


ASKED = """
import contextlib, sys
from specctl.cli.commands import main
for asked in ("--help", "convert --help", "info -h", "verify -h", "--version"):
    sys.argv[1:] = asked.split()
    with contextlib.suppress(SystemExit):
        main()
print(*sys.modules, file=sys.stderr)
"""


def test_help_does_not_wait_for_what_it_does_not_need():
    command = [sys.executable, "-c", ASKED]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert "Convert" in done.stdout and "specctl 0" in done.stdout
    slow = {"torch", "h5py", "numpy", "librosa", "soundfile", "matplotlib", "scipy"}
    assert set(done.stderr.split()) & slow == set()


def test_one_of_a_thing_is_one_of_it(folder, store):
    write_noise(folder / "alone" / "one.wav")
    result = invoke(folder / "alone", store, *FLAGS)
    assert result.stderr.startswith(f"{store}: 1 item, ")
    assert "\n1 file found: 1 converted\n" in result.stderr


def test_a_wait_has_no_figures(monkeypatch):
    monkeypatch.setattr("specctl.cli.display._SECONDS_BETWEEN_LINES", 0.0)
    console = Console(file=io.StringIO())
    with ConvertProgress(console, quiet=False) as progress:
        progress(Progress("waiting for workers", 0, 0))
        progress(Progress("converting", 0, 9))
    assert console.file.getvalue() == "waiting for workers\nconverting: 0 of 9 files\n"
