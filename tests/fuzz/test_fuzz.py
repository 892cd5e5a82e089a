"""Whatever a stranger sends is read or refused in one line, and stays as it is.

The inputs are the same each time and on each machine; ``make torture`` tries others for an hour.
"""

import importlib.util
import signal

import numpy as np
import pytest
import soundfile

from .damage import damaged
from .fuzz import costs_itself_alone, fuzz, read_all
from .targets import TARGETS

N_INPUTS = {
    "audio": 500,
    "audio of FFmpeg": 150,
    "stores": 60,
    "parts": 150,
    "bases": 120,
    "settings": 150,
    "file lists": 150,
    "labels": 150,
}
"""Of each kind of file."""


@pytest.mark.parametrize("name", TARGETS)
def test_damage_is_refused_in_words_or_does_no_harm(tmp_path, name):
    if name == "audio of FFmpeg" and importlib.util.find_spec("av") is None:
        pytest.skip("needs PyAV")
    found = fuzz(name, tmp_path, seed=0, n_inputs=N_INPUTS[name])
    assert found.wrong == []
    assert found.n_inputs == N_INPUTS[name]
    # damage that nobody notices would test nothing, and so would damage that lets nothing through
    assert found.n_refused > found.n_inputs // 10
    assert found.n_readable > 0


@pytest.mark.parametrize("name", ["audio", "labels"])
def test_an_input_can_be_made_again(tmp_path, name):
    target = TARGETS[name]
    seeds = target.seeds(tmp_path)
    assert damaged(seeds, 3, 14, target.words) == damaged(seeds, 3, 14, target.words)
    assert damaged(seeds, 3, 14, target.words) != damaged(seeds, 4, 14, target.words)


def test_a_reader_that_dies_is_found_out(tmp_path):
    assert_third_input_is_wrong(fuzz("dies", tmp_path, seed=0, n_inputs=5), "dies", "-11")


@pytest.fixture
def alarm():
    """What reading does with SIGALRM is undone."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize(
    ("name", "manner"),
    [
        ("hangs", "_TooLong"),
        ("raises", "KeyError: 1"),
        ("writes", "the file was changed"),
        ("says too much", "not one line"),
    ],
)
def test_a_bad_reader_is_found_out(tmp_path, name, manner):
    assert_third_input_is_wrong(read_all(name, tmp_path, 0, 0, 5, 0), name, manner)


def assert_third_input_is_wrong(found, name, manner):
    assert found.n_inputs == 5
    (wrong,) = found.wrong
    assert wrong.startswith(f"{name}, seed 0, input 2: ")
    assert manner in wrong


def test_a_file_that_kills_a_decoder_may_cost_itself_and_no_more(tmp_path):
    path = tmp_path / "fuzzed"
    path.write_bytes(b"no audio at all")
    assert costs_itself_alone(path)
    soundfile.write(path, np.zeros(4000), 16_000, format="WAV")
    # it must fail in a conversion as well
    assert not costs_itself_alone(path)
