"""Faults in the workers and in the parent of a conversion with real processes."""

import pytest

from tests.faults.real_trials import run_with
from tests.faults.sweep import Fault, contents, wrong_end, wrong_ending, wrong_state

FSYNC, RENAME = "fsync o.h5.parts/0", "rename o.h5.parts/0"


def more(*values, name):
    """A case of the same kind as one that is tried with every change."""
    return pytest.param(*values, id=name, marks=pytest.mark.thorough)


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
    [
        pytest.param(0, "kill", id="first"),
        pytest.param(5, "torn", id="writing"),
        pytest.param(RENAME, "torn", id="rename"),
        more(FSYNC, "kill", name="fsync"),
        more(13, "kill", name="folder"),
    ],
)
def test_a_worker_that_dies_at_a_call_costs_nothing(sweep, scenario, place, point, fault):
    ended = run_with(sweep.runner, scenario, place, "worker", point, Fault(fault))
    assert (place.parent / "token").exists()
    assert ended.code == 0, ended.errors
    assert wrong_end(scenario, place) == []


@pytest.mark.parametrize(
    ("point", "fault"),
    [
        pytest.param(0, Fault("ENOSPC", lasting=True), id="open"),
        pytest.param(FSYNC, Fault("EIO"), id="fsync"),
        more(4, Fault("EIO"), name="write"),
        more(RENAME, Fault("EIO"), name="rename"),
    ],
)
def test_an_error_in_a_worker_is_one_line_of_the_parent(sweep, scenario, place, point, fault):
    ended = run_with(sweep.runner, scenario, place, "worker", point, fault)
    assert (place.parent / "token").exists()
    assert ended.code == 1
    assert wrong_ending(ended, fault, place) == []
    assert_can_be_finished(sweep, scenario, place)


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        pytest.param("rename o.h5.parts/job.json", Fault("kill"), id="plan"),
        pytest.param("open o.h5.parts/merged.h5", Fault("EIO", lasting=True), id="joining"),
        pytest.param("rename o.h5.parts/merged.h5", Fault("torn"), id="publishing"),
        more("fsync o.h5.parts/merged.h5", Fault("EIO"), name="fsync"),
        more("unlink o.h5.parts/job.json", Fault("kill"), name="tidying"),
    ],
)
def test_a_fault_in_the_parent_of_workers_loses_nothing(sweep, scenario, place, call, fault):
    ended = run_with(sweep.runner, scenario, place, "parent", call, fault)
    assert (place.parent / "token").exists()
    assert wrong_ending(ended, fault, place) == []
    assert_can_be_finished(sweep, scenario, place)
