import errno
import os
import subprocess
import sys

import pytest

from specctl.errors import StoreError
from specctl.store.sink import FileSink
from specctl.store.verify import verify_store

from .stores import merge, random_values, small_layout, write_part


@pytest.fixture
def small_disk(tmp_path):
    """Mount a tmpfs of any size in place of the one before."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(n_bytes):
        if mounted:
            subprocess.run(["umount", place], check=True)
            mounted.clear()
        command = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", place]
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True)
        except OSError as error:
            pytest.skip(f"needs to mount a small tmpfs: {error}")
        if done.returncode:
            pytest.skip(f"needs to mount a small tmpfs: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", place], check=True)


FULL_DISK = """
import sys
from pathlib import Path
from specctl.errors import StoreError
from tests.store.stores import merge, small_layout
try:
    merge([Path(sys.argv[1])], Path(sys.argv[2]), small_layout())
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_full_disk_is_an_error_and_no_crash(tmp_path, small_disk, compression):
    layout = type(small_layout()).for_values(80, compression=compression)
    part = write_part(tmp_path / "a", layout, {"k": random_values(layout, 3000, 0)})
    code = FULL_DISK.replace(
        "small_layout()", f"small_layout().for_values(80, compression={compression!r})"
    )
    whole = merge([part], tmp_path / "whole.h5", layout).n_bytes
    outcomes = []
    for n_bytes in range(4096, whole + 150_000, max((whole // 12) // 4096, 1) * 4096):
        disk = small_disk(n_bytes)
        done = subprocess.run(
            [sys.executable, "-c", code, part, disk / "out.h5"],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert done.returncode == 0, (n_bytes, done.stderr[-500:])
        outcomes.append(done.stdout)
        left = [path.name for path in disk.iterdir()]
        assert left == ([] if done.stdout else ["out.h5"])
    assert sum("cannot write" in text for text in outcomes) > 5
    assert outcomes[-1] == ""


@pytest.mark.parametrize("call", ["pwrite", "ftruncate", "fsync"])
def test_any_call_that_fails_is_an_error_and_leaves_nothing(tmp_path, monkeypatch, call):
    layout = small_layout()
    part = write_part(tmp_path / "a", layout, {"k": random_values(layout, 100, 0)})
    original, calls = getattr(os, call), []

    def fail_at(number):
        calls.clear()

        def failing(*arguments):
            calls.append(arguments)
            if len(calls) == number:
                raise OSError(errno.EIO, "Input/output error")
            return original(*arguments)

        return failing

    number, failed = 1, 0
    while len(calls) >= number - 1:
        monkeypatch.setattr(os, call, fail_at(number))
        try:
            merge([part], tmp_path / "out.h5", layout)
        except StoreError as error:
            assert str(error).endswith("Input/output error")
            failed += 1
        number += 1
    assert failed >= {"pwrite": 20, "ftruncate": 1, "fsync": 3}[call]
    assert verify_store(tmp_path / "out.h5") == []
    assert {left.name for left in tmp_path.iterdir()} == {"a", "out.h5"}


def test_reads_back_what_was_written_and_zeros_elsewhere(tmp_path):
    sink = FileSink(tmp_path / "a")
    sink.seek(3)
    assert sink.write(b"abc") == 3
    sink.seek(0)
    assert sink.read(8) == b"\0\0\0abc\0\0"
    assert (sink.tell(), sink.seek(0, os.SEEK_END)) == (8, 6)
    sink.truncate(4)
    sink.close()
    assert (tmp_path / "a").read_bytes() == b"\0\0\0a"


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, place: pwrite(fd, data[:2], place))
    sink = FileSink(tmp_path / "a")
    sink.write(b"abcde")
    sink.close()
    assert (tmp_path / "a").read_bytes() == b"abcde"


def test_a_file_that_cannot_be_made_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"cannot write .*/no/a: No such file or directory"):
        FileSink(tmp_path / "no" / "a")
