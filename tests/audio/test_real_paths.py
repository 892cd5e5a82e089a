"""Real paths of many names, and how often the system is asked for them."""

import os

from hypothesis import example, given
from hypothesis import strategies as st

from specctl.audio.discover import discover
from specctl.audio.real_paths import RealPaths
from specctl.convert import Options
from specctl.convert.request import Request

NAMES = (b"a", b"up", b"round", b"gone", b"x.wav", b".", b"..")


@given(st.lists(st.sampled_from(NAMES)))
@example([b"gone", b"..", b"up"])
def test_they_are_those_of_the_system(tmp_path_factory, names):
    root = tmp_path_factory.getbasetemp() / "links"
    if not root.exists():
        (root / "a" / "a").mkdir(parents=True)
        (root / "a" / "x.wav").write_bytes(b"x")
        (root / "up").symlink_to("a/a")
        (root / "a" / "up").symlink_to("..")
        (root / "a" / "a" / "x.wav").symlink_to("../x.wav")
        (root / "round").symlink_to("round")
    paths = RealPaths()
    for path in (b"/".join([bytes(root), *names]), b"/".join(names)):
        assert paths.of(path) == paths.of(path) == os.path.realpath(path)


def test_the_folders_of_a_list_of_files_are_followed_once(tree, monkeypatch):
    deep = "/".join("abcdefgh")
    root = tree(*(f"{deep}/{number}.wav" for number in range(100)))
    files = [root / deep / f"{number}.wav" for number in range(100)]
    n_asked = 0

    def lstat(*args, **kwargs):
        nonlocal n_asked
        n_asked += 1
        return asked(*args, **kwargs)

    asked = os.lstat
    monkeypatch.setattr(os, "lstat", lstat)
    assert len(discover(files).sources) == 100
    Request.of(files, Options()).identity()
    assert n_asked < 400
