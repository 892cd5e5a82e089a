"""Faults in the workers and in the parent of a conversion with real processes."""

import pytest

from tests.faults.real_trials import run_with
from tests.faults.sweep import Fault, contents, wrong_end, wrong_ending, wrong_state

FSYNC, RENAME = "fsync o.h5.parts/0", "rename o.h5.parts/0"


@pytest.fixture
def scenario(sweep):
    return sweep.scenarios["convert"]


@pytest.fixture
def place(sweep, scenario):
    (sweep.folder / "token").unlink(missing_ok=True)
    return sweep.begin(scenario)


def assert_can_be_finished(sweep, scenario, place):
    assert wrong_state(scenario, contents(place / "o.h5")) == []
    again = sweep.runner.run(*scenario.command(place))
    assert again.code == 0, again.errors
    assert wrong_end(scenario, place) == []


@pytest.mark.parametrize(
    ("point", "fault"),
    [(0, "kill"), (5, "torn"), (FSYNC, "kill"), (RENAME, "torn"), (13, "kill")],
    ids=["first", "writing", "fsync", "rename", "folder"],
)
def test_a_worker_that_dies_at_a_call_costs_nothing(sweep, scenario, place, point, fault):
    ended = run_with(scenario, place, "worker", point, Fault(fault))
    assert (place.parent / "token").exists()
    assert ended.code == 0, ended.errors
    assert wrong_end(scenario, place) == []


@pytest.mark.parametrize(
    ("point", "fault"),
    [
        (0, Fault("ENOSPC", lasting=True)),
        (4, Fault("EIO")),
        (FSYNC, Fault("EIO")),
        (RENAME, Fault("EIO")),
    ],
    ids=["open", "write", "fsync", "rename"],
)
def test_an_error_in_a_worker_is_one_line_of_the_parent(sweep, scenario, place, point, fault):
    ended = run_with(scenario, place, "worker", point, fault)
    assert (place.parent / "token").exists()
    assert ended.code == 1
    assert wrong_ending(ended, fault, place) == []
    assert_can_be_finished(sweep, scenario, place)


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("rename o.h5.parts/job.json", Fault("kill")),
        ("open o.h5.parts/merged.h5", Fault("EIO", lasting=True)),
        ("fsync o.h5.parts/merged.h5", Fault("EIO")),
        ("rename o.h5.parts/merged.h5", Fault("torn")),
        ("unlink o.h5.parts/job.json", Fault("kill")),
    ],
    ids=["plan", "joining", "fsync", "publishing", "tidying"],
)
def test_a_fault_in_the_parent_of_workers_loses_nothing(sweep, scenario, place, call, fault):
    ended = run_with(scenario, place, "parent", call, fault)
    assert (place.parent / "token").exists()
    assert wrong_ending(ended, fault, place) == []
    assert_can_be_finished(sweep, scenario, place)
