"""What a caller asks for: a value of the wrong kind is named, one of the right kind taken."""

from pathlib import Path

import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options, estimate_conversion
from specctl.convert.request import Request
from specctl.errors import ParameterError
from tests.convert.audio_files import corpus, write_noise
from tests.convert.unfinished import stop_after_parts

SETTINGS = {"n_fft": 64, "hop_length": 32, "n_mels": 8}


def keys(folder, store, **options):
    convert_audio(folder, store, options=Options(workers=0, **options), **SETTINGS)
    with open_store(store) as found:
        return list(found)


@pytest.mark.parametrize("kind", [str, list, tuple])
@pytest.mark.parametrize(
    ("name", "suffix", "left"), [("include", "wav", "wav"), ("exclude", "wav", "flac")]
)
def test_one_pattern_is_a_pattern_and_not_its_characters(kind, name, suffix, left, tmp_path):
    folder = corpus(tmp_path / "in", 4, seconds=0.1)
    pattern = f"*.{suffix}"
    given = pattern if kind is str else kind([pattern])
    found = keys(folder, tmp_path / "o.h5", **{name: given})
    assert len(found) == 2
    assert {Path(key).suffix for key in found} == {f".{left}"}


def test_patterns_that_are_of_no_file_are_told_whatever_comes_of_the_run(tmp_path):
    folder = corpus(tmp_path / "in", 4, seconds=0.1)
    (folder / "bad.wav").write_bytes(b"")

    def told(call, **options):
        options = Options(workers=0, exclude=("in/x", "y"), **options)
        return call(folder, tmp_path / "o.h5", options=options, **SETTINGS)

    assert told(estimate_conversion).patterns_unused == ("in/x",)
    made = [told(convert_audio), *(told(convert_audio, update=True) for _ in "12")]
    (folder / "bad.wav").unlink()
    made += [told(convert_audio, update=True) for _ in "12"]
    write_noise(folder / "new.wav", 0.1)
    made.append(told(convert_audio, update=True))
    assert [summary.status for summary in made] == [
        *("converted", "complete", "complete"),
        *("complete", "complete", "updated"),
    ]
    assert {summary.patterns_unused for summary in made} == {("in/x",)}
    assert told(estimate_conversion, update=True).patterns_unused == ("in/x",)


@pytest.mark.usefixtures("small_parts")
def test_patterns_that_are_of_no_file_are_told_by_the_run_that_ends_the_work(tmp_path):
    folder = corpus(tmp_path / "in", 4, seconds=0.1)
    options = Options(workers=0, include=("*.wav", "in/x"))
    stop_after_parts(folder, tmp_path / "o.h5", 1, options, **SETTINGS)
    summary = convert_audio(folder, tmp_path / "o.h5", options=options, **SETTINGS)
    assert summary.n_resumed
    assert summary.patterns_unused == ("in/x",)


@pytest.mark.parametrize("kind", [list, tuple, set, iter])
def test_sources_come_in_any_collection(kind, tmp_path):
    folder = corpus(tmp_path / "in", 4, seconds=0.1)
    assert len(keys(kind([folder / "x", str(folder / "y")]), tmp_path / "o.h5")) == 3


@pytest.mark.parametrize("sources", [[None], b"in", ["in", 3], [""], [], iter([])])
def test_sources_that_are_no_paths_are_named(sources, tmp_path):
    with pytest.raises(ParameterError, match="sources must name"):
        convert_audio(sources, tmp_path / "o.h5")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": 1.5}, "workers must be a valid integer, .* got 1.5"),
        ({"workers": "many"}, "workers must be a valid integer, .* got 'many'"),
        ({"workers": True}, "workers must be a number, got True"),
        ({"timeout": True}, "timeout must be a number, got True"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"timeout": None}, "timeout must be a valid number, got None"),
        ({"timeout": float("nan")}, "timeout must be above 0 s, got nan"),
        ({"device": 0}, "device must be a valid string, got 0"),
        ({"include": None}, "include must be a valid tuple, got None"),
        ({"include": (3,)}, "include must be a valid string, got 3"),
        ({"include": ""}, "a pattern of include must not be empty; has a variable .*"),
        ({"exclude": ("x", "")}, "a pattern of exclude must not be empty; has a variable .*"),
        ({"labels": 5}, "labels must be a valid string, got 5"),
        ({"vram_budget": "1G"}, "vram_budget must be a valid integer, .* got '1G'"),
        ({"overwrite": "perhaps"}, "overwrite must be a valid boolean, .* got 'perhaps'"),
    ],
)
def test_an_option_of_the_wrong_kind_is_named(given, message):
    with pytest.raises(ParameterError, match=f"^{message}$"):
        Options(**given)


def test_an_option_that_can_only_mean_one_thing_is_taken():
    assert Options(workers="2", timeout="5", include=["*.wav"], basis=Path("b")) == Options(
        workers=2, timeout=5.0, include=("*.wav",), basis="b"
    )


@pytest.mark.parametrize(
    ("there", "here", "difference"),
    [
        ({}, {"labels": "folder"}, "the same files without --labels"),
        ({}, {"labels": "a.csv"}, "the same files without --labels"),
        ({"labels": "folder"}, {}, "the same files with --labels folder"),
        ({"labels": "folder"}, {"labels": "a.csv"}, "the same files with --labels folder"),
        ({}, {"include": "*.wav"}, "the same sources without --include"),
        ({"exclude": "x"}, {"exclude": "x", "include": "*"}, "the same sources without --include"),
        ({}, {"exclude": "x", "include": "*"}, "the same sources without --include and --exclude"),
        ({}, {"allow_truncated": True}, "the same files without --allow-truncated"),
        ({"allow_truncated": True}, {}, "the same files with --allow-truncated"),
        (
            {"labels": "folder", "allow_truncated": True},
            {"exclude": "x"},
            "the same sources with --labels folder and --allow-truncated, without --exclude",
        ),
        # what a hash does not tell
        ({"labels": "a.csv"}, {}, "other files, labels or patterns"),
        ({"labels": "a.csv"}, {"labels": "b.csv"}, "other files, labels or patterns"),
        ({"include": "*.wav"}, {}, "other files, labels or patterns"),
        ({"include": "*.wav"}, {"include": "*"}, "other files, labels or patterns"),
    ],
)
def test_a_request_is_told_what_another_was_for(tmp_path, monkeypatch, there, here, difference):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("path,label\nx/a.wav,one\n")
    (tmp_path / "b.csv").write_text("path,label\nx/a.wav,two\n")
    was = Request.of("in", Options(**there)).identity()
    assert Request.of("in", Options(**there)).difference(was) == ""
    assert Request.of("in", Options(**here)).difference(was) == difference
    others = Request.of("others", Options(**here))
    assert others.difference(was) == "other files, labels or patterns"


@pytest.mark.parametrize("given", [{"workers": 2}, {"basis": "b.safetensors"}])
def test_an_option_given_as_a_setting_is_told_where_it_belongs(tmp_path, given):
    (name,) = given
    with pytest.raises(ParameterError, match=rf"pass options=specctl\.convert\.Options\({name}="):
        convert_audio(tmp_path, tmp_path / "o.h5", **given)
