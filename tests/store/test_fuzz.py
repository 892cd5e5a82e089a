"""A store with random damage is refused or read; the process that reads it stays alive."""

from .fuzz import damaged, fuzz, seeds

N_INPUTS = 1500
"""About 20 s on one core."""


def test_no_damaged_store_ends_or_stops_its_reader(tmp_path):
    found = fuzz(tmp_path, seed=0, n_inputs=N_INPUTS)
    assert found.bugs == []
    assert found.deaths == []
    assert found.n_inputs == N_INPUTS
    # damage that nobody notices would test nothing
    assert found.n_refused > N_INPUTS // 4
    assert found.n_readable > 0


def test_an_input_can_be_made_again(tmp_path):
    stores = seeds(tmp_path)
    assert damaged(stores, 3, 14) == damaged(stores, 3, 14) != damaged(stores, 3, 17)
