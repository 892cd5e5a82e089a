import contextlib
import os
import socket
from pathlib import Path

import pytest

from specctl.audio.discover import discover, read_file_list
from specctl.audio.names import decode_key
from specctl.errors import AudioError


def keys(found):
    return [source.key for source in found.sources]


def reasons(found):
    return {skipped.key: skipped.reason for skipped in found.skipped}


def test_finds_audio_at_any_depth_sorted_by_key(tree):
    root = tree("b.wav", "a/z.FLAC", "a/b/c.ogg", "a-b.mp3", "notes.txt", "a/cover.png")
    found = discover([root])
    assert keys(found) == ["a-b.mp3", "a/b/c.ogg", "a/z.FLAC", "b.wav"]
    assert found.skipped == ()


def test_tells_path_size_and_time(tree):
    root = tree("a.wav")
    os.utime(root / "a.wav", ns=(1, 1_700_000_000_123_456_789))
    (source,) = discover([root]).sources
    assert source.path == str(root / "a.wav")
    assert source.size == len(b"sound of a.wav")
    assert source.mtime_ns == (root / "a.wav").stat().st_mtime_ns


def test_takes_a_file_given_by_name_whatever_its_extension(tree):
    root = tree("a.raw", "b.wav")
    assert keys(discover([root / "a.raw"])) == ["a.raw"]


def test_keys_are_relative_to_the_deepest_common_folder(tree):
    root = tree("x/en/a.wav", "x/fr/a.wav", "x/top.wav")
    assert keys(discover([root / "x/en", root / "x/fr"])) == ["en/a.wav", "fr/a.wav"]
    assert keys(discover([root / "x/en/a.wav", root / "x/top.wav"])) == ["en/a.wav", "top.wav"]
    assert keys(discover([root / "x/en", root / "x/en/a.wav"])) == ["a.wav"]


def test_finds_nothing_in_nothing(tree):
    for found in (discover([]), discover([tree()])):
        assert (found.sources, found.skipped) == ((), ())


def test_accepts_paths_relative_to_the_working_folder(tree, monkeypatch):
    root = tree("d/a.wav", "e/b.wav")
    monkeypatch.chdir(root / "d")
    assert keys(discover([Path(".")])) == ["a.wav"]
    (source,) = discover([Path("../e")]).sources
    assert source.path == str(root / "e/b.wav")


def test_dot_dot_behind_a_link_leads_where_the_system_says(tree, tmp_path):
    root = tree("a.wav")
    far = tmp_path / "far" / "inner"
    far.mkdir(parents=True)
    (tmp_path / "far" / "b.wav").write_bytes(b"b")
    (root / "link").symlink_to(far)
    assert keys(discover([root / "link" / ".."])) == ["b.wav"]


def test_the_same_path_twice_is_once(tree):
    root = tree("a.wav")
    assert discover([root, root]) == discover([root])
    assert len(discover([root / "a.wav", root, root / "a.wav"]).sources) == 1


@pytest.mark.parametrize("name", ["gone", "a.wav/b.wav"])
def test_refuses_a_path_that_does_not_exist(tree, name):
    with pytest.raises(AudioError, match=r"no such file or folder: .*" + name):
        discover([tree("a.wav") / name])


def test_prefers_the_name_without_a_link(tree):
    root = tree("z.wav")
    (root / "a.wav").symlink_to("z.wav")
    found = discover([root])
    assert keys(found) == ["z.wav"]
    assert reasons(found) == {"a.wav": "the same file as z.wav"}


def test_takes_the_first_of_several_names_that_are_all_links(tree, tmp_path):
    root = tree()
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "sound.bin").write_bytes(b"1")
    for name in ("c.wav", "a.wav", "b.wav"):
        (root / name).symlink_to(target / "sound.bin")
    found = discover([root])
    assert keys(found) == ["a.wav"]
    assert reasons(found) == dict.fromkeys(["b.wav", "c.wav"], "the same file as a.wav")


def test_the_first_name_may_be_inside_a_linked_folder(tree, tmp_path):
    root = tree()
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "sound.wav").write_bytes(b"1")
    (root / "a-b.wav").symlink_to(target / "sound.wav")
    (root / "a").symlink_to(target)
    (root / "b.wav").symlink_to(target / "sound.wav")
    found = discover([root])
    assert keys(found) == ["a-b.wav"]
    assert reasons(found) == dict.fromkeys(["a/sound.wav", "b.wav"], "the same file as a-b.wav")


def test_follows_links_out_of_the_root(tree, tmp_path):
    root = tree("a.wav")
    target = tmp_path / "elsewhere"
    (target / "deep").mkdir(parents=True)
    (target / "deep" / "b.wav").write_bytes(b"1")
    (root / "link").symlink_to(target)
    assert keys(discover([root])) == ["a.wav", "link/deep/b.wav"]


def test_names_a_linked_folder_once_not_its_files(tree):
    root = tree(*(f"en/{i}.wav" for i in range(50)))
    (root / "de").symlink_to("en")
    (root / "fr").symlink_to("en")
    found = discover([root])
    assert len(found.sources) == 50
    assert reasons(found) == {"de": "the same folder as en", "fr": "the same folder as en"}


def test_survives_links_that_lead_in_a_circle(tree):
    root = tree("a/b/x.wav")
    (root / "a/b/up").symlink_to("..")
    (root / "a/b/root").symlink_to(root)
    (root / "one.wav").symlink_to("two.wav")
    (root / "two.wav").symlink_to("one.wav")
    found = discover([root])
    assert keys(found) == ["a/b/x.wav"]
    assert reasons(found) == {
        "a/b/up": "the same folder as a",
        "a/b/root": "the same folder as .",
        "one.wav": "symbolic links that lead in a circle",
        "two.wav": "symbolic links that lead in a circle",
    }


def test_a_root_that_is_a_link_is_walked(tree, tmp_path):
    root = tree("a.wav")
    (tmp_path / "link").symlink_to(root)
    assert keys(discover([tmp_path / "link"])) == ["a.wav"]
    found = discover([tmp_path / "link", root])
    assert keys(found) == ["root/a.wav"]
    assert reasons(found) == {"link": "the same folder as root"}


def test_hard_links_are_files_of_their_own(tree):
    root = tree("a.wav")
    os.link(root / "a.wav", root / "b.wav")
    assert keys(discover([root])) == ["a.wav", "b.wav"]


def test_passes_what_is_no_regular_file(tree):
    root = tree("ok.wav", "folder.wav/in.wav")
    os.mkfifo(root / "fifo.wav")
    os.mkfifo(root / "fifo.txt")
    (root / "device.wav").symlink_to("/dev/zero")
    (root / "nothing.wav").symlink_to("gone.wav")
    (root / "nothing").symlink_to("gone")
    (root / "nothing.txt").symlink_to("gone")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(root)
        try:
            listener.bind("socket.wav")
        finally:
            os.chdir(here)
    found = discover([root])
    assert keys(found) == ["folder.wav/in.wav", "ok.wav"]
    assert reasons(found) == {
        "fifo.wav": "not a regular file",
        "device.wav": "not a regular file",
        "socket.wav": "not a regular file",
        "nothing.wav": "a symbolic link that leads nowhere",
        "nothing": "a symbolic link that leads nowhere",
    }


def test_a_fifo_given_by_name_is_skipped(tree):
    root = tree("a.wav")
    os.mkfifo(root / "b.wav")
    found = discover([root / "a.wav", root / "b.wav"])
    assert keys(found) == ["a.wav"]
    assert reasons(found) == {"b.wav": "not a regular file"}


@pytest.fixture
def locked(monkeypatch):
    """Folders called so cannot be listed."""
    scandir = os.scandir

    def refusing_scandir(path):
        if os.fsdecode(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing_scandir)


@pytest.mark.usefixtures("locked")
def test_a_folder_that_cannot_be_read_is_a_source_that_will_fail(tree):
    root = tree("a.wav", "b/locked/b.wav")
    found = discover([root])
    assert keys(found) == ["a.wav", "b/locked"]
    assert found.folders == {".", "b"}
    assert reasons(found) == {}
    # what is in it might have matched
    assert keys(discover([root], include=["*.wav"])) == ["a.wav", "b/locked"]
    found = discover([root], exclude=["locked"])
    assert (keys(found), found.patterns_unused) == (["a.wav"], ())


class Unseen:
    """An entry of a folder that may be listed but not entered."""

    def __init__(self, entry):
        self.name, self.path = entry.name, entry.path
        self.is_symlink, self.is_dir, self.is_file = entry.is_symlink, entry.is_dir, entry.is_file

    def stat(self, *, follow_symlinks):
        raise PermissionError(13, "Permission denied")


def test_files_that_cannot_be_looked_at_must_match_the_patterns(tree, monkeypatch):
    root = tree("a.wav", "b.flac")
    scandir = os.scandir

    @contextlib.contextmanager
    def listing_scandir(path):
        with scandir(path) as entries:
            yield [Unseen(entry) for entry in entries]

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", listing_scandir)
        # the folder that is named is tried first
        patched.setattr("specctl.audio.discover._check_folder", lambda _: None)
        assert keys(discover([root])) == ["a.wav", "b.flac"]
        assert keys(discover([root], include=["*.flac"])) == ["b.flac"]


@pytest.mark.usefixtures("locked")
def test_a_folder_that_was_named_must_be_readable(tree):
    root = tree("a.wav", "locked/b.wav")
    for paths in ([root / "locked"], [root / "a.wav", root / "locked"]):
        with pytest.raises(AudioError, match=r"cannot read '.*locked': permission denied"):
            discover(paths)


@pytest.mark.parametrize(
    "name",
    [b"\xff\xfe.wav", b"line\nbreak.wav", b"tab\t.wav", "é.wav".encode(), b"100%.wav", b"%41.wav"],
    ids=["bytes", "newline", "tab", "utf8", "percent", "code"],
)
def test_any_name_comes_back_from_its_key(tree, name):
    root = os.fsencode(tree())
    with open(os.path.join(root, name), "wb") as file:
        file.write(b"x")
    (source,) = discover([Path(os.fsdecode(root))]).sources
    assert decode_key(source.key) == name
    assert os.fsencode(source.path) == os.path.join(root, name)
    source.key.encode()


def test_a_file_list_has_one_name_a_line():
    base = Path("/base")
    assert read_file_list(b"a.wav\n\n  \n/abs/b.wav\nlast", base) == [
        base / "a.wav",
        Path("/abs/b.wav"),
        base / "last",
    ]


def test_a_file_list_with_a_nul_may_hold_newlines():
    assert read_file_list(b"a\nb.wav\0c.wav\0", Path("/d")) == [
        Path("/d/a\nb.wav"),
        Path("/d/c.wav"),
    ]


@pytest.mark.parametrize("end", [b"\r\n", b"", b"\r\n\r\n"], ids=["ended", "open", "blank"])
def test_a_file_list_from_windows_loses_its_returns(end):
    assert read_file_list(b"a.wav\r\n\r\nb.wav" + end, Path("/d")) == [
        Path("/d/a.wav"),
        Path("/d/b.wav"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_file_list_may_begin_with_the_mark_of_its_encoding(encoding):
    text = "\ufeffä.wav\r\nb.wav\r\n"
    expected = [Path("/d/ä.wav"), Path("/d/b.wav")]
    assert read_file_list(text.encode(encoding), Path("/d")) == expected


def test_a_file_list_keeps_returns_that_belong_to_names():
    assert read_file_list(b"a.wav\r\nb.wav\n", Path("/d")) == [
        Path("/d/a.wav\r"),
        Path("/d/b.wav"),
    ]


def test_a_file_list_keeps_bytes_that_are_not_utf8():
    assert os.fsencode(read_file_list(b"\xff.wav\n", Path("/d"))[0]) == b"/d/\xff.wav"


def test_passes_what_macos_keeps_beside_files(tmp_path):
    for name, data in {
        "a.wav": b"RIFF",
        "._a.wav": b"\0\5\x16\7\0\2\0\0Mac OS X",
        "._b.wav": b"RIFF",
        "c.wav": b"\0\5\x16\7",
        "._d.txt": b"\0\5\x16\7",
    }.items():
        (tmp_path / name).write_bytes(data)
    found = discover([tmp_path])
    assert keys(found) == ["._b.wav", "a.wav", "c.wav"]
    assert [(each.key, each.reason.partition(",")[0]) for each in found.skipped] == [
        ("._a.wav", "no audio")
    ]
