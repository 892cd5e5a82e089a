import json
import os
import resource
import signal
import sys

import h5py
import pytest
import torch
from typer.testing import CliRunner

from specctl import convert_audio
from specctl.cli import info
from specctl.cli.app import app
from specctl.cli.draw import picture, printable, text_lines
from specctl.convert import Options
from specctl.store.reader import open_store
from specctl.store.verify import verify_store
from tests.convert.audio_files import RATE, noise, write, write_noise
from tests.convert.commands import environment, run_script
from tests.store.stores import (
    CONFIG,
    make_store,
    merge,
    random_values,
    small_layout,
    write_config,
    write_part,
)

NASTY = "[red]a[/red] :dog:\nline\x1b[31m \udcff.wav"


def run(*arguments):
    return CliRunner().invoke(app, ["info", *map(str, arguments)])


@pytest.fixture
def made(tmp_path):
    return make_store(tmp_path)


@pytest.fixture
def nasty(tmp_path):
    layout = small_layout()
    values = {NASTY: random_values(layout, 30, 0), "none.wav": random_values(layout, 0, 0)}
    failures = {f"{i} {NASTY}": "why\nnot" for i in range(7)}
    merge([write_part(tmp_path / "a", layout, values, failures)], tmp_path / "out.h5", layout)
    return tmp_path / "out.h5"


def test_shows_what_a_store_holds(made):
    result = run(made.path)
    assert result.exit_code == 0
    for text in (
        f"store       {made.path}, ",
        "made        2026-11-01T12:00:00+00:00 by specctl",
        "items       6, 0.5 s of audio",
        "labels      2: ",
        "frames      50 of 7 float32, compressed",
        "values      log mel spectrogram (dB), mean -",
        "frequency   0 to 8,000 Hz",
        "hop_length 160",
        "failed      2",
        "anna/bad.wav: cannot decode",
    ):
        assert text in result.stdout


def test_json_is_one_object(made):
    facts = json.loads(run(made.path, "--json").stdout)
    assert facts["n_items"] == 6
    assert facts["n_frames"] == 50
    assert facts["hours"] == pytest.approx(50 * 160 / 16000 / 3600)
    assert facts["classes"] == ["anna", "ben"]
    assert facts["config"]["feature"] == "mel"
    assert facts["failures"][1] == {"key": "ben/bad.wav", "reason": "cannot decode"}


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 1.25),
        # three segments, the last of which is filled up to 1.3 s
        ({"segment": 0.5, "overlap": 0.1}, 1.3),
        ({"segment": 0.5, "overlap": 0.1, "tail": "drop"}, 0.9),
        ({"channels": "each"}, 1.25),
        ({"channels": "each", "segment": 0.5, "overlap": 0.1, "tail": "drop"}, 0.9),
    ],
    ids=["whole", "padded", "dropped", "channels", "both"],
)
def test_audio_that_several_items_share_counts_once(tmp_path, settings, seconds):
    for name in ("a.wav", "b/a.wav"):
        write(tmp_path / "in" / name, noise(round(1.25 * RATE), n_channels=2))
    store = tmp_path / "o.h5"
    short = {"n_fft": 64, "hop_length": 32, "n_mels": 8}
    convert_audio(tmp_path / "in", store, options=Options(workers=0), **short, **settings)
    facts = json.loads(run(store, "--json").stdout)
    assert facts["hours"] * 3600 == pytest.approx(2 * seconds)
    # the index does not tell zeros that fill up a segment from audio
    is_filled = "segment" in settings and "tail" not in settings
    assert facts["hours_include_filling"] == is_filled
    most, filled = is_filled * "at most ", is_filled * " (last segments are filled up with zeros)"
    assert f", {most}{2 * seconds:.3g} s of audio{filled}\n" in run(store).stdout


def test_coefficients_have_numbers_and_no_frequencies(tmp_path):
    store = tmp_path / "o.h5"
    options = Options(workers=0)
    convert_audio(write_noise(tmp_path / "a.wav"), store, options=options, feature="mfcc")
    assert verify_store(store) == []
    with h5py.File(store) as file:
        about = {name: file["frequency"].attrs[name].decode() for name in ("units", "long_name")}
        assert file["frequency"][:].tolist() == list(range(20))
    assert about == {"units": "1", "long_name": "index of the coefficient"}
    lines = run(store).stdout.splitlines()
    assert "coefficient 0 to 19" in lines
    assert not [line for line in lines if "Hz" in line]


def test_a_store_that_is_gone_once_it_is_open_is_told_of(made, monkeypatch):
    def open_and_remove(path):
        store = open_store(path)
        path.unlink()
        return store

    monkeypatch.setattr("specctl.store.reader.open_store", open_and_remove)
    n_bytes = made.path.stat().st_size
    result = run(made.path, "--json")
    assert (result.exit_code, json.loads(result.stdout)["n_bytes"]) == (0, n_bytes)


def test_keys_are_printed_one_a_line(made):
    assert run(made.path, "--keys").stdout.splitlines() == list(made.values)


def test_shows_and_draws_an_item(made):
    result = run(made.path, "anna/1.wav")
    assert result.exit_code == 0
    assert "key         anna/1.wav" in result.stdout
    assert "sample_rate 44100" in result.stdout
    assert "channel     -1 (all of them, mixed down)" in result.stdout
    lines = result.stdout.splitlines()
    assert lines[-1].split() == ["0", "0.19", "s"]
    assert lines[-2].startswith("    0 Hz ")
    assert lines[-8].startswith(" 8000 Hz ")
    assert all(len(line) < 80 for line in lines)


def test_an_item_as_json_is_its_record(made):
    record = json.loads(run(made.path, "anna/1.wav", "--json").stdout)
    with open_store(made.path) as store:
        assert record == store.record("anna/1.wav").to_dict()


def test_an_unknown_key_is_one_line_with_the_nearest(made):
    result = run(made.path, "anna/1.flac")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"specctl: {made.path} has no item 'anna/1.flac'; did you mean 'anna/1.wav'?\n"
    )


def test_what_is_no_store_is_one_line(tmp_path):
    (tmp_path / "x").write_text("no store")
    result = run(tmp_path / "x")
    assert result.exit_code == 1
    assert result.stderr == f"specctl: {tmp_path}/x is not an HDF5 file\n"


def test_lines_end_where_the_terminal_does_and_paths_stay_whole(tmp_path, monkeypatch):
    folder = tmp_path / "a-long-name-" / ("of-a-folder-" * 8)
    folder.mkdir(parents=True)
    path = make_store(folder).path
    monkeypatch.setattr(info.out, "_force_terminal", True)
    monkeypatch.setattr(info.out, "_width", 60)
    lines = run(path).stdout.splitlines()
    assert sum(str(path) in line for line in lines) == 1
    assert max(len(line) for line in lines if str(path) not in line) <= 60


def test_names_are_printed_as_they_are_but_for_control_characters(nasty):
    escaped = r"[red]a[/red] :dog:\nline\x1b[31m \udcff.wav"
    assert printable(NASTY) == escaped
    assert run(nasty, "--keys").stdout.splitlines() == [escaped, "none.wav"]
    shown = run(nasty).stdout
    assert f"0 {escaped}: why\\nnot" in shown
    assert "and 2 more" in shown
    item = run(nasty, NASTY)
    assert item.exit_code == 0
    assert f"key         {escaped}" in item.stdout
    assert json.loads(run(nasty, "--json").stdout)["n_failures"] == 7


def test_an_item_without_frames_is_shown_but_not_drawn(nasty, tmp_path):
    assert "n_frames    0" in run(nasty, "none.wav").stdout
    result = run(nasty, "none.wav", "--png", tmp_path / "a.png")
    assert "has no frames, so there is no picture of it" in result.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_key_may_be_given_as_it_is_printed(tmp_path, encoding):
    layout, names = small_layout(), [NASTY, "日本\u3000語.wav", "back\\nslash.wav"]
    values = {name: random_values(layout, 3, i) for i, name in enumerate(names)}
    merge([write_part(tmp_path / "a", layout, values)], tmp_path / "out.h5", layout)
    runner = CliRunner(env={"PYTHONIOENCODING": encoding}, charset=encoding)
    printed = runner.invoke(app, ["info", str(tmp_path / "out.h5"), "--keys"]).stdout.splitlines()
    for name, given in zip(names, printed, strict=True):
        item = runner.invoke(app, ["info", str(tmp_path / "out.h5"), given, "--json"])
        assert json.loads(item.stdout)["key"] == name


def test_a_key_may_be_given_as_its_file_is_called_on_the_disk(tmp_path):
    layout = small_layout()
    called = {"%FF.wav": "\udcff.wav", "100%2525.wav": "100%25.wav", "\xfc.wav": "u\u0308.wav"}
    values = {key: random_values(layout, 3, i) for i, key in enumerate(called)}
    merge([write_part(tmp_path / "a", layout, values)], tmp_path / "out.h5", layout)
    for key, name in called.items():
        assert json.loads(run(tmp_path / "out.h5", name, "--json").stdout)["key"] == key


def test_a_key_is_taken_as_utf8_whatever_the_locale(tmp_path):
    layout, name = small_layout(), "\u65e5\u672c.wav"
    values = {name: random_values(layout, 3, 0)}
    merge([write_part(tmp_path / "a", layout, values)], tmp_path / "out.h5", layout)
    env = environment(LC_ALL="C", PYTHONUTF8="0")
    done = run_script("info", tmp_path / "out.h5", name, "--json", env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["key"] == name


def test_a_name_that_the_font_lacks_is_no_warning(tmp_path):
    pytest.importorskip("matplotlib")
    layout, name = small_layout(), "日本.wav"
    part = write_part(tmp_path / "a", layout, {name: random_values(layout, 3, 0)})
    merge([part], tmp_path / "out.h5", layout)
    result = run(tmp_path / "out.h5", name, "--png", tmp_path / "a.png")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("place", [("",), ("{store}", "a", "--png", "")], ids=["store", "png"])
def test_a_variable_without_a_value_is_not_this_folder(made, place):
    result = run(*(each.format(store=made.path) for each in place))
    assert result.exit_code == 2
    assert "a path is empty" in result.stderr


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A picture; matplotlib makes files of its own for the first one."""
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("drawn")
    store = make_store(folder)
    assert run(store.path, "anna/1.wav", "--png", folder / "a.png").exit_code == 0
    return (folder / "a.png").read_bytes()


def test_a_png_is_written_once(made, drawn, tmp_path):
    png = tmp_path / "a.png"
    assert drawn.startswith(b"\x89PNG")
    png.write_bytes(drawn)
    result = run(made.path, "anna/1.wav", "--png", png)
    assert (result.exit_code, result.stderr.replace("\n", "")) == (
        1,
        f"specctl: {png} already exists; give --png another name",
    )


def test_an_empty_file_is_no_png_to_keep(made, tmp_path):
    pytest.importorskip("matplotlib")
    png = tmp_path / "a.png"
    png.touch()
    assert run(made.path, "anna/1.wav", "--png", png).exit_code == 0
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("share", [0, 99])
def test_a_png_on_a_full_disk_is_written_whole_or_not_at_all(made, drawn, tmp_path, share):
    folder = tmp_path / "pictures"
    folder.mkdir()
    most = share * len(drawn) // 100
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        result = run(made.path, "anna/1.wav", "--png", folder / "a.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert (result.exit_code, result.stderr.replace("\n", "")) == (
        1,
        f"specctl: cannot write {folder / 'a.png'}: File too large",
    )
    assert os.listdir(folder) == []


@pytest.mark.parametrize("name", ["folder", "none/a.png"])
def test_a_png_that_has_no_place_is_an_error_in_a_line(made, tmp_path, name):
    (tmp_path / "folder").mkdir()
    result = run(made.path, "anna/1.wav", "--png", tmp_path / name)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"specctl: cannot write {tmp_path / name}: ")


def test_a_png_whose_name_is_too_long_is_an_error_in_a_line(made, tmp_path):
    result = run(made.path, "anna/1.wav", "--png", tmp_path / ("n" * 300))
    assert result.exit_code == 1
    assert result.stderr.startswith("specctl: cannot write ")
    assert result.stderr.endswith("File name too long\n")


def test_a_png_without_matplotlib_says_what_to_install(made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    result = run(made.path, "anna/1.wav", "--png", tmp_path / "a.png")
    assert result.stderr == "specctl: --png needs matplotlib; pip install 'specctl-audio[plot]'\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keys", "--json"], "--keys must be given without KEY and --json"),
        (["--keys", "anna/0.wav"], "--keys must be given without KEY and --json"),
        (["--png", "a.png"], "--png must be given with the KEY of an item"),
    ],
)
def test_refuses_options_that_do_not_fit(made, options, message):
    result = run(made.path, *options)
    assert (result.exit_code, result.stderr) == (2, f"specctl: {message}\n")


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize(("width", "height"), [(79, 24), (40, 8), (10, 3), (200, 60)])
@pytest.mark.parametrize("colour", [False, True])
def test_drawings_fit_and_have_low_frequencies_below(tmp_path, colour, width, height, is_complex):
    layout = small_layout(is_complex=is_complex)
    values = random_values(layout, 50, 0) * 0
    values[:, 0] = 1
    merge([write_part(tmp_path / "a", layout, {"k": values})], tmp_path / "out.h5", layout)
    with open_store(tmp_path / "out.h5") as store:
        lines = text_lines(picture(store, "k", width), width, height, colour=colour)
    assert len(lines) <= height
    drawn = [line.plain[9:] for line in lines[:-1]]
    if colour:
        assert all(set(line) == {"▀"} for line in drawn)
        assert all(len(line.plain) == width for line in lines[:-1])
    else:
        assert set(drawn[-1]) != {" "}
        assert not "".join(drawn[:-1]).strip() or len(drawn) == 1
        assert all(len(line.plain) <= max(width, 20) for line in lines)


def test_says_which_basis_a_store_was_made_with(tmp_path):
    from specctl.transforms import MelSpectrogram

    transform = MelSpectrogram(sample_rate=RATE, n_fft=64, n_mels=8, trainable=("mel",))
    with torch.no_grad():
        transform.mel.mul_(2)
    transform.save_basis(tmp_path / "b.safetensors", verdict={"sentence": "makes no difference"})
    store = tmp_path / "o.h5"
    options = Options(workers=0, basis=str(tmp_path / "b.safetensors"))
    convert_audio(write_noise(tmp_path / "a.wav"), store, options=options)
    fingerprint = transform.to_basis().fingerprint()
    text = run(store).stdout
    assert f"mel; {fingerprint[:12]}; makes no difference" in text
    facts = json.loads(run(store, "--json").stdout)["basis"]
    assert facts == {
        "fingerprint": fingerprint,
        "trained": ["mel"],
        "verdict": "makes no difference",
    }


@pytest.mark.parametrize("rate", ["1e-308", "-1", "1e400", "NaN", "1" + 400 * "0"])
def test_a_rate_that_is_none_gives_no_hours(made, rate):
    write_config(made.path, CONFIG.replace('"sample_rate": 16000', f'"sample_rate": {rate}'))
    result = run(made.path)
    assert result.exit_code == 0, result.exception
    assert "unknown length of audio" in " ".join(result.stdout.split())
