"""``specctl convert`` told what it cannot do: one line, the right exit code, no trace of it."""

import os

import pytest
from typer.testing import CliRunner

from specctl import convert_audio
from specctl.cli import commands  # noqa: F401 - registers all commands
from specctl.cli.app import app
from specctl.errors import ParameterError
from tests.convert.audio_files import corpus


def invoke(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    return corpus(tmp_path / "in", 4)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "o.h5"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--feature loud", "feature must be one of complex, magnitude, power, mel, mfcc"),
        ("--n-fft 1", "n_fft must be greater than or equal to 2, got 1"),
        ("--win-length 4096", "win_length must be in [1, n_fft=2048], got 4096"),
        ("--hop-length 0", "hop_length must be greater than 0, got 0"),
        ("--power 1e30", "power must be less than or equal to 32, got 1e+30"),
        ("--basis none.safetensors", "cannot read none.safetensors: No such file or directory"),
        ("--basis none.pt", "cannot read none.pt: No such file or directory"),
        ("--basis .", ". is not a file"),
        ("--sample-rate 8000 --fmax 5000", "fmax must be at most half the sample rate, 4000 Hz"),
        ("--fmax inf", "fmax must be a finite number, got inf"),
        ("--fmax nan", "fmax must be a finite number, got nan"),
        ("--fmax -5", "fmax must be greater than 0, got -5"),
        ("--fmin -1", "fmin must be greater than or equal to 0, got -1.0"),
        ("--fmin 100 --fmax 50", "fmin must be below fmax=50, got 100"),
        (
            "--sample-rate 16000 --n-fft 256 --fmin 3970 --fmax 3990 --scale none",
            "fmin and fmax must have a bin of the FFT between them for n_mels=128",
        ),
        (
            "--n-fft 256 --fmin 3970 --fmax 3990 --n-mels 4",
            "bins are 62.5 Hz apart with n_fft=256",
        ),
        ("--top-db loud", "top_db must be a number or none, got 'loud'"),
        ("--top-db -3", "top_db must be greater than 0, got -3.0"),
        ("--ref loud", "ref must be a number or max, got 'loud'"),
        ("--sample-rate fast", "sample_rate must be a number or auto, got 'fast'"),
        ("--sample-rate 0", "sample_rate must be greater than 0, got 0"),
        ("--sample-rate 8000.5", "sample_rate must be a valid integer"),
        ("--sample-rate inf", "sample_rate must be a"),
        ("--segment 0", "segment must be greater than 0, got 0"),
        ("--segment nan", "segment must be a finite number, got nan"),
        ("--segment 1e-9", "segment and its step must be at least one sample"),
        ("--segment 1 --overlap 1", "overlap must be below segment=1 s, got 1"),
        ("--overlap 1", "overlap has no effect without segment"),
        ("--tail pad", "tail has no effect without segment"),
        (
            "--dtype int16 --feature power",
            "dtype must be float32 or float16 unless values are log",
        ),
        ("--dtype int16 --feature mfcc", "dtype must be float32 or float16 with feature 'mfcc'"),
        ("--dtype float64", "dtype must be 'float32', 'float16', 'int16' or 'uint8'"),
        ("--feature power --n-mels 3", "n_mels has no effect with feature 'power'"),
        ("--n-mfcc 3", "n_mfcc has no effect with feature 'mel'"),
        ("--workers -1", "workers must be at least 0, got -1"),
        ("--workers 20000000", "workers must be at most 10,000, got 20,000,000"),
        ("--timeout 0", "timeout must be above 0 s, got 0"),
        ("--timeout nan", "timeout must be above 0 s, got nan"),
        ("--max-failures 0", "max_failures must be at least 1, got 0"),
        ("--vram-budget inf", "size must be a number such as 4GiB, got 'inf'"),
        ("--vram-budget much", "size must be a number such as 4GiB, got 'much'"),
        ("--vram-budget 0", "vram_budget must be at least 1, got 0"),
        ("--overwrite --update", "overwrite and update must not both be given"),
        ("--preset nope", "nope"),
        ("--config nope.toml", "cannot read settings: nope.toml: No such file or directory"),
        ("--kernel nope", "kernel must be auto, fold, fft or conv, got 'nope'"),
        ("--device gpu", "device 'gpu' is not on this machine; here: cpu"),
        ("--device cpu,tpu", "device 'tpu' is not on this machine; here: cpu"),
        ("--labels nope.csv", "cannot read labels: nope.csv: No such file or directory"),
        ("--files-from nope", "cannot read file list: nope: No such file or directory"),
        (f"--files-from {'n' * 300}", "nnn: File name too long"),
    ],
)
def test_a_wrong_setting_is_a_usage_error_in_one_line(folder, store, flags, message):
    result = invoke(folder, store, "--workers", 0, *flags.split())
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("specctl: ")
    assert message in line
    assert list(store.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope", "new.h5"], "no such file or folder: '{cwd}/nope'"),
        (["{empty}", "new.h5"], "no audio files: {empty}"),
        (["{cwd}/pipe", "new.h5"], "no audio files: {cwd}/pipe; skipped pipe: not a regular file"),
        (["{empty}", "a.wav"], "a.wav already exists and is no store; the store to make is given"),
        (["{empty}", "o.h5"], "o.h5 is an empty file; pass --overwrite to replace it"),
        (["{empty}", "{empty}/no/o.h5"], "cannot write {empty}/no/o.h5: no such folder; make"),
        (["{empty}", "{empty}"], "cannot write {empty}: it is a folder"),
        (["{empty}", "."], "cannot write .: it is a folder"),
        (["{empty}", "/"], "cannot write /: it is a folder"),
        (["{empty}", "x" * 252], "File name too long"),
    ],
    ids=[
        "missing",
        "empty",
        "pipe",
        "no-store",
        "empty-store",
        "no-folder",
        "a-folder",
        "this-folder",
        "root",
        "long-name",
    ],
)
def test_what_cannot_be_done_is_an_error_in_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    os.mkfifo("pipe")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "o.h5").touch()
    names = {"cwd": tmp_path, "empty": empty}
    result = invoke(*(each.format(**names) for each in arguments), "--workers", 0)
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("specctl: ")
    assert message.format(**names) in line
    assert sorted(os.listdir(tmp_path)) == ["a.wav", "empty", "o.h5", "pipe"]
    assert os.listdir(empty) == []


@pytest.mark.parametrize("place", [0, 1])
def test_a_variable_without_a_value_is_not_this_folder(folder, store, monkeypatch, place):
    monkeypatch.chdir(folder)
    paths = [folder, store]
    paths[place] = ""
    result = invoke(*paths)
    assert result.exit_code == 2, result.output
    assert "a path is empty" in result.stderr
    assert list(store.parent.iterdir()) == []
    with pytest.raises(ParameterError, match="sources must name files or folders, got ''"):
        convert_audio("", store)


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("workers = 2", "--workers"),
        ('labels = "folder"', "--labels"),
        ("allow_truncated = true", "--allow-truncated"),
        ('files_from = "list"', "--files-from"),
        ('basis = "b.safetensors"', "--basis"),
    ],
)
def test_an_option_in_a_file_of_settings_is_told_its_flag(folder, store, tmp_path, line, flag):
    toml = tmp_path / "settings.toml"
    toml.write_text(f"{line}\n")
    result = invoke(folder, store, "--config", toml)
    name = line.partition(" ")[0]
    assert (result.exit_code, result.stderr) == (
        2,
        f"specctl: {name} is no setting of the spectrograms: {toml}; pass {flag}\n",
    )


@pytest.mark.parametrize("option", ["--files-from", "--config", "--basis", "--labels"])
def test_an_option_without_a_value_is_not_this_folder(folder, store, option):
    result = invoke(folder, store, option, "")
    assert result.exit_code == 2, result.output
    assert "path is empty" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "got"),
    [
        (["in"], "one path"),
        ([], "none"),
        (["--files-from", "list"], "--files-from alone"),
    ],
)
def test_a_path_is_missing(arguments, got):
    result = invoke(*arguments)
    message = f"specctl: SOURCE and STORE must both be given, got {got}\n"
    assert (result.exit_code, result.stderr) == (2, message)


def test_a_dry_run_needs_a_source(folder):
    result = invoke("--dry-run")
    message = "specctl: sources must name at least one file or folder, got none\n"
    assert (result.exit_code, result.stderr) == (2, message)


def test_a_flag_that_is_none_is_a_usage_error_with_the_nearest(folder, store):
    result = invoke(folder, store, "--hop-lenght", 3)
    assert result.exit_code == 2
    assert "--hop-length" in result.stderr
