import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specctl.convert import held
from specctl.convert.held import Held, silence
from specctl.errors import StoreError

in_memory_or_not = pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "disk"])


@settings(max_examples=60)
@given(
    most=st.integers(1, 30),
    changes=st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=12),
    at_a_time=st.integers(1, 20),
    in_memory=st.booleans(),
)
def test_gives_the_samples_that_have_not_left(
    tmp_path_factory, most, changes, at_a_time, in_memory
):
    folder, wanted = tmp_path_factory.mktemp("held"), np.empty(0, np.float32)
    signal = np.arange(1, 500, dtype=np.float32)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(held, "_MEMORY_SAMPLES", most if in_memory else 0)
        patched.setattr(held, "_PIECE_SAMPLES", at_a_time)
        with Held(most, folder / "a") as ring:
            for is_more, n_samples in changes:
                if is_more:
                    taken, signal = np.split(signal, [min(n_samples, ring.room)])
                    ring.add(taken)
                    wanted = np.concatenate([wanted, taken])
                else:
                    n_dropped = min(n_samples, ring.size)
                    ring.drop(n_dropped)
                    wanted = wanted[n_dropped:]
                assert (ring.size, ring.room) == (len(wanted), most - len(wanted))
            for _ in range(2):
                pieces = [piece.copy() for piece in ring.pieces()]
                np.testing.assert_array_equal(np.concatenate([*pieces, wanted[:0]]), wanted)
                assert max(map(len, pieces), default=0) <= at_a_time
            assert list(folder.iterdir()) == []


@in_memory_or_not
def test_keeps_a_copy(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(held, "_MEMORY_SAMPLES", 2**24 if in_memory else 0)
    block = np.ones(3, np.float32)
    with Held(5, tmp_path / "a") as ring:
        ring.add(block)
        block[:] = 7
        assert [piece.tolist() for piece in ring.pieces()] == [[1, 1, 1]]


def test_silence_comes_in_pieces(monkeypatch):
    monkeypatch.setattr(held, "_PIECE_SAMPLES", 4)
    assert [piece.tolist() for piece in silence(6)] == [[0] * 4, [0] * 2]
    assert list(silence(0)) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("lseek", r"cannot write .*/a\.part: Input/output error"),
        ("read", r"cannot read .*/a\.part: a temporary file has lost its end"),
    ],
)
def test_a_disk_that_fails_is_an_error_with_its_cause(tmp_path, monkeypatch, call, message):
    monkeypatch.setattr(held, "_MEMORY_SAMPLES", 0)

    def failing(*_):
        if call == "read":
            return b""
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, call, failing)
    with Held(5, tmp_path / "a.part") as ring, pytest.raises(StoreError, match=message) as caught:
        ring.add(np.ones(3, np.float32))
        list(ring.pieces())
    assert isinstance(caught.value.__cause__, OSError)
