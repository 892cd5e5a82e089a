"""Settings, labels and lists of strangers: a typed error of one line, before memory is taken."""

import os
import sys

import pytest

from specctl import convert_audio
from specctl.convert import Options
from specctl.convert.request import read_labels
from specctl.errors import ParameterError, SpecctlError, StoreError
from specctl.given_files import MAX_SETTINGS_BYTES
from specctl.settings import read_settings
from specctl.store.reader import open_store
from specctl.training.labels import find_labelled
from tests.convert.audio_files import write_noise
from tests.store.stores import merge, random_values, small_layout, write_part

HOSTILE_TOML = {
    "nul": (b"n_fft = 1\0", "settings are not TOML: .*"),
    "not utf-8": (b"window = '\xff'", "settings are not TOML: .*utf-8"),
    "utf-16": ("n_fft = 512".encode("utf-16"), "settings are not TOML: "),
    "binary": (os.urandom(2000), "settings are not TOML: "),
    "deep list": (b"n_fft = " + b"[" * 200_000, "nested too deeply"),
    "deep table": (b"a = " + b"{a = " * 100_000, "nested too deeply"),
    "digits": (b"n_fft = " + b"9" * 5000, "Exceeds the limit"),
    "too large": (b"# " + b"x" * MAX_SETTINGS_BYTES, "settings must be at most 1048576 bytes, .*"),
}
HOSTILE_SETTINGS = {
    "n_fft = 1099511627776": "n_fft must be less than or equal to 1048576, got 1099511627776",
    "hop_length = 99999999999999999999": "hop_length must be less than or equal to 16777216",
    "n_mels = 1000000000": "n_mels must be less than or equal to 16384, got 1000000000",
    "n_mels = 16384\nn_fft = 1048576": "n_mels must be at most 255 with n_fft=1048576, got 16384",
    "sample_rate = 999999999999": "sample_rate must be less than or equal to 1048576",
    "sample_rate = inf": "sample_rate must be a finite number, got inf",
    "segment = 1e300": "segment must be less than or equal to 7200, got 1e\\+300",
    "segment = 1e-300": "segment and its step must be at least one sample",
    "fmax = 1e300": "fmax must be at most half the sample rate",
    "amin = 1e-400": "amin must be greater than 0, got 0.0",
    "n_fft = 2020-01-01": "n_fft must be a valid integer",
    "n_fft = [1]": "n_fft must be a valid integer",
    "preset = ['a']": "preset must be one of librosa",
    "preset = 5": "preset must be one of librosa",
    "__class__ = 1": "there is no setting '__class__'",
}


@pytest.mark.parametrize(("text", "message"), HOSTILE_TOML.values(), ids=HOSTILE_TOML)
def test_a_settings_file_that_is_none_is_refused(tmp_path, text, message):
    (tmp_path / "c.toml").write_bytes(text)
    with pytest.raises(ParameterError, match=message) as caught:
        read_settings(tmp_path / "c.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", HOSTILE_SETTINGS)
def test_settings_outside_of_reason_are_refused_before_a_file_is_opened(tmp_path, text):
    write_noise(tmp_path / "a.wav")
    (tmp_path / "c.toml").write_text(text)
    given = read_settings(tmp_path / "c.toml")
    named = given.pop("preset", None)
    with pytest.raises(ParameterError, match=HOSTILE_SETTINGS[text]):
        convert_audio(
            tmp_path / "a.wav",
            tmp_path / "o.h5",
            preset=named,
            options=Options(workers=0),
            **given,
        )
    assert sorted(os.listdir(tmp_path)) == ["a.wav", "c.toml"]


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "missing", "nul"])
@pytest.mark.parametrize("reader", [read_settings, read_labels], ids=["settings", "labels"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind, reader):
    path = tmp_path / ("a\0b" if kind == "nul" else "x")
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    with pytest.raises(ParameterError, match=r"^cannot read (settings|labels): "):
        reader(path)


HOSTILE_CSV = {
    "binary": b"\x80" + os.urandom(2000),
    "not utf-8": b"path,label\n\xff,b\n",
    "long field": b"path,label\na.wav," + b"x" * 200_000 + b"\n",
    "nul": b"path,label\na.wav,b\0c\n",
    "no header": b"",
    "a million columns": b"x," * 1_000_000,
    "lines in a heading": b'path,"la\nbel\x1b[31m"\na.wav,b\n',
}


@pytest.mark.parametrize("text", HOSTILE_CSV.values(), ids=HOSTILE_CSV)
def test_a_table_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "in").mkdir()
    write_noise(tmp_path / "in" / "a.wav")
    table = tmp_path / "labels.csv"
    table.write_bytes(text)
    with pytest.raises(ParameterError, match="label") as caught:
        read_labels(table)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()
    with pytest.raises(SpecctlError):
        find_labelled(tmp_path / "in", table)


def test_a_cell_too_many_is_no_label_that_was_cut(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na.wav,dog,\nb.wav,dog, small\n")
    with pytest.raises(
        ParameterError,
        match=r"line 3 of .*labels.csv must have 2 cells, as its heading has, got 'small' beyond; "
        "put a label with commas in quotes",
    ):
        read_labels(table)
    table.write_text('path,label\na.wav,dog,\nb.wav,"dog, small",,\n')
    assert read_labels(table) == {"a.wav": "dog", "b.wav": "dog, small"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_spreadsheets_are_read(tmp_path, encoding):
    table = tmp_path / "labels.csv"
    table.write_text("path,label\nä.wav,Waldohreule\n", encoding=encoding)
    assert read_labels(table) == {"ä.wav": "Waldohreule"}


def test_a_label_that_no_store_can_hold_is_refused(tmp_path):
    table = tmp_path / "labels.csv"
    longest = 16_000 * "\U00010000"
    table.write_text(f"path,label\na.wav,{longest}\n", encoding="utf-8")
    layout = small_layout()
    values = {"a.wav": random_values(layout, 3, seed=0)}
    part = write_part(tmp_path / "a", layout, values, label=read_labels(table)["a.wav"])
    merge([part], tmp_path / "out.h5", layout)
    with open_store(tmp_path / "out.h5") as store:
        assert store.classes == [longest]
    table.write_text(f"path,label\na.wav,{longest}a\n", encoding="utf-8")
    with pytest.raises(
        ParameterError, match="label must have at most 16,000 characters, .* 16,001"
    ):
        read_labels(table)


@pytest.mark.skipif(sys.platform != "linux", reason="files with holes")
def test_a_table_of_terabytes_is_refused_at_once(tmp_path):
    with (tmp_path / "labels.csv").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(
        ParameterError, match="labels must be at most 1073741824 bytes, .* has 1099"
    ):
        read_labels(tmp_path / "labels.csv")


def test_settings_nested_without_end_in_a_store_are_refused(tmp_path):
    from tests.store.stores import make_store, write_config

    path = make_store(tmp_path).path
    write_config(path, "[" * 60_000)
    with open_store(path) as store, pytest.raises(StoreError, match="its config is not JSON"):
        _ = store.config
