"""A file system that keeps a removed file until it is closed, as those of networks do: bindfs."""

import errno
import fcntl
import os
import shutil
import subprocess

import pytest

from specctl import convert_audio
from specctl.errors import StoreError
from specctl.training import train_basis
from tests.convert.audio_files import corpus
from tests.faults.sweep import Sweep
from tests.faults.test_kills import SCENARIOS, try_kills
from tests.training.audio import TINY, write_tones

N_KILLS = 2


@pytest.fixture(scope="module")
def mounted(tmp_path_factory):
    if shutil.which("bindfs") is None or os.geteuid() != 0:
        pytest.skip("needs root and bindfs: apt install bindfs")
    behind, mounted = tmp_path_factory.mktemp("behind"), tmp_path_factory.mktemp("mounted")
    done = subprocess.run(
        ["bindfs", behind, mounted], check=False, capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0:
        pytest.skip(f"bindfs cannot be mounted here: {done.stderr.strip()}")
    yield mounted
    # what a killed process has left open there must not keep it
    subprocess.run(["umount", "--lazy", mounted], check=True, timeout=60)


@pytest.fixture(scope="module")
def on_fuse(runner, mounted):
    return Sweep(runner, mounted / "sweep")


def test_it_keeps_what_is_removed(mounted):
    (mounted / "kept").mkdir()
    path = mounted / "kept" / "file"
    with path.open("w"):
        path.unlink()
        with pytest.raises(OSError, match="not empty"):
            path.parent.rmdir()
    path.parent.rmdir()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_time_loses_nothing_and_leaves_nothing(on_fuse, name):
    try_kills(on_fuse, name, N_KILLS)


def test_no_folder_is_left_where_there_are_no_locks(mounted, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    corpus(mounted / "unlocked" / "in", 2, seconds=0.1)
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreError, match="^cannot lock "):
        convert_audio(mounted / "unlocked" / "in", mounted / "unlocked" / "o.h5")
    assert [path.name for path in (mounted / "unlocked").iterdir()] == ["in"]


def test_a_training_leaves_nothing(mounted):
    write_tones(mounted / "tones", n_clips=4)
    (mounted / "out").mkdir()
    train_basis(mounted / "tones", mounted / "out" / "b.safetensors", **TINY)
    assert [path.name for path in (mounted / "out").iterdir()] == ["b.safetensors"]
