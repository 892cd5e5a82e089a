import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specctl.store import spill
from specctl.store.spill import Spill


@settings(max_examples=60)
@given(
    changes=st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=12),
    in_memory=st.integers(1, 60),
    at_a_time=st.integers(1, 30),
)
def test_gives_back_what_was_not_taken_back(tmp_path_factory, changes, in_memory, at_a_time):
    folder, wanted = tmp_path_factory.mktemp("spill"), b""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spill, "_MEMORY_BYTES", in_memory)
        patched.setattr(spill, "_PIECE_BYTES", at_a_time)
        kept = Spill(folder / "a")
        for number, (is_more, size) in enumerate(changes):
            if is_more:
                wanted += bytes([number]) * size
                kept.append(bytes([number]) * size)
            else:
                wanted = wanted[:size]
                kept.truncate(min(size, kept.size))
            assert kept.size == len(wanted)
        assert b"".join(kept.pieces()) == b"".join(kept.pieces()) == wanted
        assert list(folder.iterdir()) == []
        kept.close()
        kept.close()
    assert (kept.size, b"".join(kept.pieces())) == (0, b"")


def test_few_bytes_open_no_file(tmp_path):
    kept = Spill(tmp_path / "no such folder" / "a")
    kept.append(b"few")
    assert b"".join(kept.pieces()) == b"few"


def test_a_file_that_has_lost_its_end_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "_MEMORY_BYTES", 4)
    kept = Spill(tmp_path / "a")
    kept.append(b"many bytes")
    monkeypatch.setattr(os, "read", lambda descriptor, n_bytes: b"")
    with pytest.raises(OSError, match="a temporary file has lost its end"):
        list(kept.pieces())
