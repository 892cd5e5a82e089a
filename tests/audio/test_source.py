import hashlib
import io
import os
import socket

import pytest

from specctl.audio.decode import open_audio
from specctl.audio.scratch import SCRATCH_BYTES
from specctl.audio.source import Piece, PieceFile, SourceFile
from specctl.errors import AudioError
from tests.audio.conftest import N_SAMPLES, RECIPES
from tests.convert.audio_files import without_root


@pytest.fixture
def source(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(100)))
    with SourceFile(str(tmp_path / "a")) as source:
        yield source


def test_reads_at_an_offset_up_to_the_end(source):
    assert source.read_at(90, 5) == bytes(range(90, 95))
    assert source.read_at(90, 50) == bytes(range(90, 100))
    assert source.read_at(100, 1) == b""


def test_a_closed_file_gives_its_descriptor_back_once(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    source = SourceFile(str(tmp_path / "a"))
    fd = source.fd
    source.close()
    source.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize("size", [1, SCRATCH_BYTES, 2 * SCRATCH_BYTES + 3])
def test_hashes_all_bytes(tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "a").write_bytes(data)
    with SourceFile(str(tmp_path / "a")) as source:
        os.lseek(source.fd, 1, os.SEEK_SET)
        assert source.sha256() == hashlib.sha256(data).hexdigest()
        assert os.lseek(source.fd, 0, os.SEEK_CUR) == 1


def test_notices_a_new_time_or_size(tmp_path, source):
    assert not source.has_changed()
    os.utime(source.path, ns=(1, 1))
    assert source.has_changed()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "empty file"),
        ("folder", "not a regular file"),
        ("fifo", "not a regular file"),
        ("socket", "not a regular file"),
        ("device", "not a regular file"),
        ("missing", "no such file"),
        ("dangling", "no such file"),
        ("circle", "symbolic links that lead in a circle"),
        ("nul", "NUL in its name"),
    ],
)
def test_opens_regular_files_only(tmp_path, monkeypatch, kind, reason):
    monkeypatch.chdir(tmp_path)
    path = "x.wav"
    with socket.socket(socket.AF_UNIX) as listener:
        match kind:
            case "empty":
                (tmp_path / path).touch()
            case "folder":
                (tmp_path / path).mkdir()
            case "fifo":
                os.mkfifo(path)
            case "socket":
                listener.bind(path)
            case "device":
                path = "/dev/zero"
            case "dangling":
                os.symlink("gone", path)
            case "circle":
                os.symlink(path, path)
            case "nul":
                path = "a\0b"
        with pytest.raises(AudioError, match=f"^{reason}$"):
            SourceFile(path)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="this system has no users to change to")
def test_says_that_permission_is_denied(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "a").chmod(0)
    with without_root(), pytest.raises(AudioError, match=r"^permission denied$"):
        SourceFile(str(tmp_path / "a"))


def test_a_piece_is_its_prefix_and_a_range_of_the_file(source):
    file = PieceFile(source, Piece(b"prefix", 10, 20))
    whole = b"prefix" + bytes(range(10, 20))
    assert io.BufferedReader(file).read() == whole
    for start in range(len(whole) + 2):
        for n_bytes in range(len(whole) + 2):
            assert file.seek(start) == file.tell() == start
            buffered = io.BufferedReader(PieceFile(source, Piece(b"prefix", 10, 20)), 4)
            buffered.seek(start)
            assert buffered.read(n_bytes) == whole[start : start + n_bytes]
    assert file.seek(-2, os.SEEK_END) == len(whole) - 2
    assert file.seek(1, os.SEEK_CUR) == len(whole) - 1
    assert file.read(5) == whole[-1:]
    assert file.readable() and file.seekable()


@pytest.mark.parametrize("when", ["before", "between", "after", "again"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_hash_that_is_taken_while_decoding_is_that_of_all_bytes(copy_of, name, when):
    path = copy_of(name)
    if name.startswith("wav"):
        # what no decoder reads
        path.write_bytes(path.read_bytes() + b"LIST\4\0\0\0INFO" * 9000)
    with open_audio(str(path), hashed=True) as reader:
        digests = {reader.sha256()} if when == "before" else set()
        for number, _ in enumerate(reader.blocks()):
            digests |= {reader.sha256()} if when == "between" and number == 0 else set()
        digests.add(reader.sha256())
        if when == "again":
            next(reader.blocks())
            digests.add(reader.sha256())
    assert digests == {hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.mark.parametrize("name", ["wav-pcm16", "flac", "aiff", "w64"])
def test_a_file_that_is_hashed_is_read_once(originals, monkeypatch, name):
    path, n_read = originals[name], 0
    pread, preadv = os.pread, os.preadv

    def counted(fd, buffers, offset):
        nonlocal n_read
        n_now = preadv(fd, buffers, offset)
        n_read += n_now
        return n_now

    def counted_bytes(fd, n_bytes, offset):
        nonlocal n_read
        data = pread(fd, n_bytes, offset)
        n_read += len(data)
        return data

    monkeypatch.setattr(os, "preadv", counted)
    monkeypatch.setattr(os, "pread", counted_bytes)
    with open_audio(str(path), hashed=True) as reader:
        assert sum(map(len, reader.blocks())) == N_SAMPLES
        reader.sha256()
    assert path.stat().st_size <= n_read < 1.2 * path.stat().st_size


def test_the_hash_is_that_of_the_bytes_that_were_decoded(copy_of):
    path = copy_of("wav-pcm16")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    times = path.stat()
    with open_audio(str(path), hashed=True) as reader:
        list(reader.blocks())
        # a change that neither size nor time tells of
        with path.open("r+b") as file:
            file.seek(1_000)
            file.write(b"changed")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert reader.sha256() == before
