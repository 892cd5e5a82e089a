"""What is said where a folder cannot be locked."""

import errno
import fcntl
import os

import pytest

from specctl import convert_audio
from specctl.convert import Options
from specctl.errors import StoreError
from specctl.locks import check_unlocked, lock_folder, unlock_folder
from specctl.training import train_basis
from tests.convert.audio_files import corpus
from tests.training.audio import TINY, write_tones


@pytest.fixture(params=[errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def without_locks(request, monkeypatch):
    def flock(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_file_system_without_locks_is_named_and_left_as_it_was(tmp_path, without_locks):
    folder = corpus(tmp_path / "in", 2, seconds=0.1)
    (tmp_path / "out").mkdir()
    store = tmp_path / "out" / "o.h5"
    with pytest.raises(
        StoreError, match=r"^cannot lock \S+/out/o\.h5\.parts: .*; write to another"
    ):
        convert_audio(folder, store, options=Options(workers=0))
    assert list(store.parent.iterdir()) == []


def test_work_that_came_there_otherwise_stays(tmp_path, without_locks):
    folder = corpus(tmp_path / "in", 2, seconds=0.1)
    work = tmp_path / "out" / "o.h5.parts"
    work.mkdir(parents=True)
    (work / "000000.part").write_bytes(b"copied")
    store = tmp_path / "out" / "o.h5"
    with pytest.raises(StoreError, match="^cannot lock "):
        convert_audio(folder, store, options=Options(workers=0))
    assert [path.name for path in work.iterdir()] == ["000000.part"]


def test_a_training_says_so_too(tmp_path, without_locks):
    write_tones(tmp_path / "in", n_clips=4)
    (tmp_path / "out").mkdir()
    basis = tmp_path / "out" / "b.safetensors"
    with pytest.raises(StoreError, match=r"^cannot lock \S+/b\.safetensors\.work: "):
        train_basis(tmp_path / "in", basis, **TINY)
    assert list(basis.parent.iterdir()) == []


def test_the_lock_of_another_stays_where_one_gets_none(tmp_path, monkeypatch):
    folder, flock = tmp_path / "o.h5.parts", fcntl.flock
    lock = lock_folder(folder, str)

    def out_of_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    for look in (check_unlocked, lock_folder):
        monkeypatch.setattr(fcntl, "flock", out_of_locks)
        with pytest.raises(StoreError, match="^cannot lock "):
            look(folder, str)
        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(StoreError, match=f"^process {os.getpid()} on "):
            lock_folder(folder, str)
    unlock_folder(lock, folder)
