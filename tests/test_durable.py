import errno
import os
import stat
from pathlib import Path

import pytest

from specctl import durable
from specctl.errors import StoreError


def test_publish_replaces_the_final_file(tmp_path):
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "final").write_bytes(b"old")
    durable.publish(tmp_path / "new", tmp_path / "final")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    assert (tmp_path / "final").read_bytes() == b"new"


def test_publish_syncs_the_file_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(os.readlink(f"/proc/self/fd/{fd}")))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    (tmp_path / "new").write_bytes(b"new")
    durable.publish(tmp_path / "new", tmp_path / "final")
    assert calls == [str(tmp_path / "new"), "rename", str(tmp_path)]
    assert fsync is not os.fsync


def fsync_fails_on_folders(monkeypatch, number):
    fsync = os.fsync

    def fail_on_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_on_folders)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_disk_that_syncs_no_folders_is_taken_as_it_is(tmp_path, monkeypatch, number):
    fsync_fails_on_folders(monkeypatch, number)
    durable.write_atomically(tmp_path / "job.json", b"{}")
    assert (tmp_path / "job.json").read_bytes() == b"{}"


def test_a_folder_whose_disk_fails_is_an_error(tmp_path, monkeypatch):
    fsync_fails_on_folders(monkeypatch, errno.EIO)
    with pytest.raises(StoreError, match="Input/output error"):
        durable.write_atomically(tmp_path / "job.json", b"{}")


@pytest.mark.skipif(os.name == "nt", reason="there only who may write makes a file durable")
def test_publishes_a_file_that_nobody_may_write_to(tmp_path, monkeypatch):
    open_file = os.open

    def refusing_open(path, flags, *args, **kwargs):
        if path == tmp_path / "new" and flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open_file(path, flags, *args, **kwargs)

    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "new").chmod(0o444)
    monkeypatch.setattr(os, "open", refusing_open)
    durable.publish(tmp_path / "new", tmp_path / "final")
    assert (tmp_path / "final").read_bytes() == b"new"


def test_write_atomically_leaves_only_the_file(tmp_path):
    durable.write_atomically(tmp_path / "job.json", b"{}")
    durable.write_atomically(tmp_path / "job.json", b"[]")
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]
    assert (tmp_path / "job.json").read_bytes() == b"[]"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".", r"cannot write \.: it is a folder"),
        ("/", "cannot write /: it is a folder"),
        ("a\0b", r"cannot write 'a\\x00b': NUL in its name"),
        ("link", "cannot write link: it is a folder"),
        ("here", "cannot write here: symbolic links that lead in a circle"),
        ("no/file", "cannot write no/file: no such folder; make .*/no first"),
        ("file/file", "cannot write file/file: no such folder; make .*/file first"),
        ("x" * 300, "cannot write x*: File name too long"),
    ],
)
def test_a_place_where_no_file_can_be_is_refused(path, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("link").symlink_to("folder")
    Path("here").symlink_to("there")
    Path("there").symlink_to("here")
    Path("file").touch()
    durable.check_place(Path("folder/new"))
    durable.check_place(Path("file"))
    with pytest.raises(StoreError, match=f"^{reason}$"):
        durable.check_place(Path(path))


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_write_atomically_keeps_the_old_file_when_the_disk_is_full(tmp_path, monkeypatch, call):
    path = tmp_path / "job.json"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StoreError, match=rf"^cannot write {path}[^:]*: No space left on device$"):
        durable.write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [left.name for left in tmp_path.iterdir()] == ["job.json"]


def test_write_all_goes_on_after_a_short_write(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    with (tmp_path / "file").open("wb") as file:
        durable.write_all(file.fileno(), b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"
