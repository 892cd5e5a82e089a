"""Nine files and a place for their store; what a test needs otherwise it makes itself."""

import pytest

from tests.convert.audio_files import corpus


@pytest.fixture
def small_parts(monkeypatch):
    """A part for each file."""
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)


@pytest.fixture
def folder(tmp_path):
    return corpus(tmp_path / "in", 9)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "o.h5"
