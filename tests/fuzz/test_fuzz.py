"""Whatever a stranger sends is read or refused in one line, and stays as it is: 20 s of trying.

The first inputs are the same each time and on each machine; what time is left goes to more.
"""

import importlib.util

import numpy as np
import pytest
import soundfile

from .damage import damaged
from .fuzz import costs_itself_alone, fuzz
from .targets import TARGETS

BUDGET = {
    "audio": (800, 6),
    "audio of FFmpeg": (300, 2),
    "stores": (130, 5),
    "parts": (250, 2),
    "bases": (250, 2),
    "settings": (300, 1),
    "file lists": (200, 1),
    "labels": (250, 1),
}
"""Inputs, and seconds with the start of the process; all seconds make 20."""


def test_the_budget_is_twenty_seconds_for_all():
    assert set(BUDGET) == set(TARGETS)
    assert sum(seconds for _, seconds in BUDGET.values()) == 20


@pytest.mark.parametrize("name", BUDGET)
def test_damage_is_refused_in_words_or_does_no_harm(tmp_path, name):
    if name == "audio of FFmpeg" and importlib.util.find_spec("av") is None:
        pytest.skip("needs PyAV")
    n_inputs, seconds = BUDGET[name]
    found = fuzz(name, tmp_path, seed=0, n_inputs=n_inputs, seconds=seconds)
    assert found.wrong == []
    assert found.n_inputs >= n_inputs
    # damage that nobody notices would test nothing, and so would damage that lets nothing through
    assert found.n_refused > found.n_inputs // 10
    assert found.n_readable > 0


@pytest.mark.parametrize("name", ["audio", "labels"])
def test_an_input_can_be_made_again(tmp_path, name):
    target = TARGETS[name]
    seeds = target.seeds(tmp_path)
    assert damaged(seeds, 3, 14, target.words) == damaged(seeds, 3, 14, target.words)
    assert damaged(seeds, 3, 14, target.words) != damaged(seeds, 4, 14, target.words)


@pytest.mark.parametrize(
    ("name", "manner"),
    [
        ("dies", "-11"),
        ("hangs", "_TooLong"),
        ("raises", "KeyError: 1"),
        ("writes", "the file was changed"),
        ("says too much", "not one line"),
    ],
)
def test_a_bad_reader_is_found_out(tmp_path, name, manner):
    found = fuzz(name, tmp_path, seed=0, n_inputs=5)
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
