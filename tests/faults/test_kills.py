"""Kills at random times: what is left is the old store, none, or the new one."""

import random
import shutil
import time

import pytest

from tests.faults.sweep import contents, wrong_end, wrong_state

SCENARIOS = ("convert", "resume", "update", "overwrite", "tidy up", "repair")
N_KILLS = 5
N_CHAINS = 2
MOST_IN_A_CHAIN = 200


def seconds_of(sweep, scenario):
    """How long a run takes that nobody kills."""
    place = sweep.begin(scenario)
    began = time.monotonic()
    assert sweep.runner.run(*scenario.command(place)).code == 0
    return time.monotonic() - began


def try_kills(sweep, name, n_kills):
    """Kill a scenario that often, spread over its time; it goes on each time, and ends well."""
    scenario = sweep.scenarios[name]
    total = seconds_of(sweep, scenario)
    chance = random.Random(name)
    for number in range(n_kills):
        place = sweep.begin(scenario)
        after = total * (number + chance.random()) / n_kills
        sweep.runner.run(*scenario.command(place), kill_after=after)
        assert wrong_state(scenario, contents(place / "o.h5")) == [], after
        again = sweep.runner.run(*scenario.command(place))
        assert again.code == 0, (after, again.errors)
        assert wrong_end(scenario, place) == [], after


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_time_loses_nothing(sweep, name):
    try_kills(sweep, name, N_KILLS)


@pytest.mark.parametrize("seed", range(N_CHAINS))
def test_kills_again_and_again_only_delay_the_end(sweep, seed):
    scenario = sweep.scenarios[("convert", "update")[seed % 2]]
    total = seconds_of(sweep, scenario)
    chance = random.Random(seed)
    place = sweep.begin(scenario)
    for _ in range(MOST_IN_A_CHAIN):
        ended = sweep.runner.run(
            *scenario.command(place), kill_after=chance.uniform(0.3, 1.1) * total
        )
        assert ended.code in (0, -9), ended.errors
        assert wrong_state(scenario, contents(place / "o.h5")) == []
        if ended.code == 0:
            break
    assert ended.code == 0
    assert wrong_end(scenario, place) == []


def test_a_kill_of_verify_leaves_the_store_as_it_is(sweep, tmp_path):
    store = tmp_path / "o.h5"
    shutil.copyfile(sweep.scenarios["update"].start / "o.h5", store)
    before = store.read_bytes()
    began = time.monotonic()
    assert sweep.runner.run("verify", store).code == 0
    total = time.monotonic() - began
    codes = set()
    for number in range(5):
        codes.add(sweep.runner.run("verify", store, kill_after=number / 5 * total).code)
        assert store.read_bytes() == before
        assert list(tmp_path.iterdir()) == [store]
    assert -9 in codes
