"""What cannot be looked at is not taken to be absent, by any version of Python."""

import ast

import pytest

from specctl.presence import exists, is_folder, is_regular_file
from tests.test_layers import FILES, PACKAGE, layer_of

CALLS = {"exists", "is_dir", "is_file"}


def test_what_is_there_and_what_is_not(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "link").symlink_to("file")
    found = {
        name: (exists(path), is_folder(path), is_regular_file(path))
        for name in (".", "file", "link", "circle", "none", "file/none", "a\0b")
        for path in [tmp_path / name]
    }
    nothing = (False, False, False)
    assert found == {
        ".": (True, True, False),
        "file": (True, False, True),
        "link": (True, False, True),
        "circle": nothing,
        "none": nothing,
        "file/none": nothing,
        "a\0b": nothing,
    }


@pytest.mark.parametrize("look", [exists, is_folder, is_regular_file])
def test_what_cannot_be_told_is_an_error(look, tmp_path):
    with pytest.raises(OSError, match="File name too long"):
        look(tmp_path / ("x" * 300))


def test_nobody_asks_pathlib_which_says_no_to_any_error_since_python_3_14():
    asking = {
        f"{path.relative_to(PACKAGE)}: {node.func.attr}"
        for path in FILES
        # looks at the system and at files of its own
        if layer_of(path) != "bench"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and not node.args
        if isinstance(node.func, ast.Attribute) and node.func.attr in CALLS
        # of os.scandir: they raise
        if ast.unparse(node.func.value) != "entry"
    }
    assert asking == set()
