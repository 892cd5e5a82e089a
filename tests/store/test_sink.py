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
def disk(tmp_path):
    """Folder of a file system in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", place]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"needs to mount a small tmpfs: {error}")
    if done.returncode:
        pytest.skip(f"needs to mount a small tmpfs: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


FULL_DISK = """
import os, subprocess, sys
from pathlib import Path
from specctl.errors import StoreError
from tests.store.stores import merge, small_layout

part, disk, compression = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
for n_bytes in map(int, sys.argv[4:]):
    subprocess.run(["mount", "-o", f"remount,size={n_bytes}", disk], check=True)
    # HDF5 may also crash when the process ends
    child = os.fork()
    if child == 0:
        try:
            layout = small_layout().for_values(80, compression=compression)
            merge([part], disk / "out.h5", layout)
            sys.exit(0)
        except StoreError as error:
            sys.exit(3 if "cannot write" in str(error) else str(error))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), *os.listdir(disk), flush=True)
    (disk / "out.h5").unlink(missing_ok=True)
"""


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_full_disk_is_an_error_and_no_crash(tmp_path, disk, compression):
    layout = type(small_layout()).for_values(80, compression=compression)
    part = write_part(tmp_path / "a", layout, {"k": random_values(layout, 3000, 0)})
    whole = merge([part], tmp_path / "whole.h5", layout).n_bytes
    sizes = range(4096, whole + 150_000, max((whole // 12) // 4096, 1) * 4096)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, part, disk, compression, *map(str, sizes)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    outcomes = done.stdout.splitlines()
    n_full = outcomes.count("3")
    assert outcomes == ["3"] * n_full + ["0 out.h5"] * (len(sizes) - n_full), done.stderr[-500:]
    assert 5 < n_full < len(sizes)


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
    assert failed >= {"pwrite": 20, "ftruncate": 1, "fsync": 2}[call]
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
