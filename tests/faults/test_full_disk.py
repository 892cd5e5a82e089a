"""A disk that is full at one of its pages after another."""

import errno
import os
import shutil
import subprocess
from itertools import count

import pytest

from tests.faults.sweep import begun, wrong_end

PAGE = 4096
ENOUGH = 4 << 20


@pytest.fixture
def disk(tmp_path):
    """A file system in memory, and a function that gives it a size in bytes."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount")

    def sized(n_bytes, *more):
        options = ",".join([f"size={n_bytes}", *more])
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", tmp_path]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"cannot mount: {done.stderr.strip()}")

    sized(ENOUGH)
    yield tmp_path, lambda n_bytes: sized(n_bytes, "remount")
    subprocess.run(["umount", tmp_path], check=True)


def n_used(folder):
    """Bytes that are taken on a file system."""
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


@pytest.mark.parametrize(
    "step", [3, pytest.param(1, marks=pytest.mark.thorough)], ids=["some pages", "each page"]
)
@pytest.mark.parametrize("name", ["convert", "update"])
def test_whatever_does_not_fit_is_one_line_and_done_later(sweep, disk, name, step):
    folder, resize = disk
    scenario = sweep.scenarios[name]
    for n_free in count(1, step):
        place = begun(scenario, folder / "place")
        resize(n_used(folder) + n_free * PAGE)
        ended = sweep.runner.run(*scenario.command(place))
        resize(ENOUGH)
        if ended.code == 0:
            break
        assert ended.code == 1, ended
        (line,) = ended.errors.splitlines()
        assert line.startswith(f"specctl: cannot write {place}")
        assert line.endswith(os.strerror(errno.ENOSPC))
        assert (place / "o.h5").exists() == bool(scenario.old)
        assert sweep.runner.run(*scenario.command(place)).code == 0
        assert wrong_end(scenario, place) == []
    assert wrong_end(scenario, place) == []
    assert n_free > 10
