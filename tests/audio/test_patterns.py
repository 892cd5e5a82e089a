"""Patterns that choose among files, and those that are of none."""

import os

import pytest

from specctl.audio.discover import discover
from tests.audio.test_discover import keys


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.wav"], [], ["a.wav", "en/b.wav", "en/x/d.wav"]),
        (["en/*"], [], ["en/b.wav", "en/c.ogg", "en/x/d.wav"]),
        (["b.*", "c.*"], ["*.ogg"], ["en/b.wav"]),
        ([], ["en/*"], ["a.wav"]),
        (["*"], ["*"], []),
        ([], ["en"], ["a.wav"]),
        (["en/"], [], ["en/b.wav", "en/c.ogg", "en/x/d.wav"]),
        (["x"], [], ["en/x/d.wav"]),
        ([], ["en/x"], ["a.wav", "en/b.wav", "en/c.ogg"]),
        (["e"], [], []),
        ([], ["./en/x/"], ["a.wav", "en/b.wav", "en/c.ogg"]),
        (["**/*.wav"], [], ["a.wav", "en/b.wav", "en/x/d.wav"]),
        (["**/x/*"], [], ["en/x/d.wav"]),
        (["en/**"], ["**/c.*"], ["en/b.wav", "en/x/d.wav"]),
    ],
    ids=[
        *("extension", "in-folder", "both", "exclude", "exclude-wins", "folder", "folder-slash"),
        *("folder-below", "folder-path", "part-of-a-name", "from-here"),
        *("any-depth", "folder-at-any-depth", "all-below"),
    ],
)
def test_patterns_match_keys_names_and_folders(tree, include, exclude, expected):
    root = tree("a.wav", "en/b.wav", "en/c.ogg", "en/x/d.wav")
    assert keys(discover([root], include=include, exclude=exclude)) == expected


def test_extensions_of_audio_are_the_same_in_either_case(tree):
    """Cards of several recorders are mixed; names are otherwise as they are."""
    root = tree("a.wav", "B.WAV", "C.Flac", "d/d.flac", "1.Wav")
    for pattern in ("*.wav", "*.WAV", "**/*.Wav"):
        assert keys(discover([root], include=[pattern])) == ["1.Wav", "B.WAV", "a.wav"]
    assert keys(discover([root], include=["b.wav", "c.*", "A.WAV"])) == []
    assert keys(discover([root], exclude=["?.[Ww][Aa][Vv]", "d.FLAC"])) == ["C.Flac"]
    # a folder is called as it is, and so are the letters in brackets
    tree("dir.WAV/e.ogg")
    assert keys(discover([root], include=["dir.WAV", "?.[W]AV"])) == ["B.WAV", "dir.WAV/e.ogg"]


def test_a_name_that_is_excluded_leaves_the_file_to_its_other_names(tree):
    root = tree("en/a.wav")
    (root / "b.wav").symlink_to("en/a.wav")
    assert keys(discover([root], exclude=["en/*"])) == ["b.wav"]


@pytest.mark.parametrize(
    "pattern", ["a%20song.wav", "in%20here", "in%20here/b.wav", "caf\udce9.wav", "caf%E9.wav"]
)
def test_patterns_are_of_names_on_the_disk_too(tree, pattern):
    root = tree("a%20song.wav", "in%20here/b.wav", os.fsdecode(b"caf\xe9.wav"), "100%.wav")
    every = set(keys(discover([root])))
    assert every == {"a%2520song.wav", "in%2520here/b.wav", "caf%E9.wav", "100%.wav"}
    (chosen,) = keys(discover([root], include=[pattern]))
    assert chosen[:2] == pattern[:2]
    assert set(keys(discover([root], exclude=[pattern]))) == every - {chosen}


def test_a_name_with_brackets_is_a_name_too(tree):
    root = tree("song [x1].wav", "song x.wav", "d[1]/a.wav", "d1/a.wav")
    assert keys(discover([root], exclude=["song [x1].wav", "d[1]/"])) == []
    assert keys(discover([root], include=["./d[[]1]/a.wav"])) == ["d[1]/a.wav"]


def test_patterns_that_are_of_no_audio_file_are_told(tree):
    root = tree("a.wav", "en/b.wav", "notes.txt")
    (root / "c.wav").symlink_to("a.wav")
    include = ["*.wav", "root/en", "en"]
    exclude = ["root/en/", "./en/b.wav", "*.txt", "c.wav", "root/en"]
    found = discover([root], include=include, exclude=exclude)
    assert keys(found) == ["a.wav"]
    assert found.patterns_unused == ("root/en", "root/en/", "*.txt")
    # what is not included may still be excluded
    assert discover([root], include=["a.wav"], exclude=["en"]).patterns_unused == ()
