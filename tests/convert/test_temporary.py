"""Where files of a moment lie."""

import tempfile

import pytest

from specctl.convert import temporary
from specctl.convert.temporary import temporary_folder, temporary_place
from specctl.errors import StoreError


@pytest.fixture
def nowhere(monkeypatch):
    """No folder for temporary files may be written to, as far as Python knows."""

    def fail():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", fail)


def test_the_usual_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert temporary_folder() == str(tmp_path)
    with temporary_place() as place:
        assert place.parent == tmp_path
        (place / "a").write_text("gone with the folder")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_too_long_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "long"))
    monkeypatch.setattr(temporary, "_OTHERS", (str(tmp_path),))
    assert temporary_folder(len(bytes(tmp_path))) == str(tmp_path)


@pytest.mark.usefixtures("nowhere")
def test_another_folder_does_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary, "_OTHERS", (str(tmp_path / "missing"), str(tmp_path)))
    assert temporary_folder() == str(tmp_path)


@pytest.mark.usefixtures("nowhere")
def test_none_at_all_is_said_in_a_line(monkeypatch):
    monkeypatch.setattr(temporary, "_OTHERS", ())
    with pytest.raises(StoreError, match="may be written to; set TMPDIR to one"):
        temporary_folder()
