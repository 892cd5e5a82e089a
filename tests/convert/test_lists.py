"""``--files-from``: a list of files, from a file, a pipe or stdin."""

import os

import pytest

from specctl import open_store
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import invoke, run

LISTED = [b"x/000.wav", b"z/002.wav"]
FLAGS = ("--n-fft", 256, "--workers", 0)


@pytest.mark.parametrize("separator", [b"\n", b"\0", b"\r\n"], ids=["lines", "nul", "windows"])
@pytest.mark.parametrize("place", ["file", "pipe", "descriptor"])
def test_files_from_a_list(tmp_path, monkeypatch, separator, place):
    folder = corpus(tmp_path / "in", 5)
    names = list(LISTED)
    if separator == b"\0":
        names.append(b"y/new\nline.wav")
        write_noise(folder / "y" / "new\nline.wav")
    given = folder / "list"
    given.write_bytes(separator.join(names) + separator)
    opened = os.open(given, os.O_RDONLY)
    receiver, sender = os.pipe()
    os.write(sender, given.read_bytes())
    os.close(sender)
    if place != "file":
        # the shell gives <(...) such a name
        given = f"/dev/fd/{receiver}" if place == "pipe" else f"/proc/self/fd/{opened}"
        monkeypatch.chdir(folder)
    done = invoke("--files-from", given, tmp_path / "o.h5", *FLAGS)
    os.close(opened)
    os.close(receiver)
    assert done.returncode == 0, done.stderr
    with open_store(tmp_path / "o.h5") as store:
        assert set(store) == {os.fsdecode(name) for name in names}


@pytest.mark.parametrize("given", ["-", "/dev/stdin"])
def test_names_of_a_list_that_the_shell_opened_are_relative_to_the_current_folder(tmp_path, given):
    folder = corpus(tmp_path / "in", 3)
    listed = tmp_path / "list"
    listed.write_bytes(b"\n".join(LISTED))
    with listed.open() as stdin:
        done = run(*("--files-from", given, tmp_path / "o.h5", *FLAGS), stdin=stdin, cwd=folder)
    assert done.returncode == 0, done.stderr
    with open_store(tmp_path / "o.h5") as store:
        assert set(store) == {os.fsdecode(name) for name in LISTED}
