"""Each kind of system call of a conversion fails: an error in one line, and nothing is lost.

The calls are those of small jobs in one process. To bear it with every change, each kind of call
meets each of three faults in one of the jobs, in turn, and what leaves the same files as another
trial is left out. The full size is that of ``tests/faults/torture.py``.
"""

import pytest

from tests.faults.shim import WRITES
from tests.faults.sweep import CI_FAULTS, Fault, kinds_of

SCENARIOS = ("convert", "resume", "update", "overwrite", "tidy up", "repair")
SAME_AS_THE_NEXT = {
    # a kill leaves the same files before a call that changes none as before the next one
    "kill": ("look", "stat", "close", "fsync", "flock"),
    # and no disk is too full to be looked at
    "ENOSPC": ("look", "stat", "flock"),
}


@pytest.fixture(scope="module")
def chosen(sweep):
    """Numbers of the calls to try, by scenario and fault."""
    kinds = {name: kinds_of(sweep.scenarios[name].points) for name in SCENARIOS}
    found = {(name, fault): [] for name in SCENARIOS for fault in CI_FAULTS}
    for turn, kind in enumerate(dict.fromkeys(kind for name in SCENARIOS for kind in kinds[name])):
        having = [name for name in SCENARIOS if kind in kinds[name]]
        for number, fault in enumerate(CI_FAULTS):
            if kind.split()[0] in SAME_AS_THE_NEXT.get(fault.name, ()):
                continue
            name = having[(turn + number) % len(having)]
            places = kinds[name][kind]
            # the first of many writes in a row, one in their middle, the last
            found[name, fault].append(places[number * (len(places) - 1) // 2])
    assert sum(map(len, found.values())) > 100
    return found


@pytest.mark.parametrize("fault", CI_FAULTS, ids=str)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_at_any_call_loses_nothing(sweep, chosen, name, fault):
    scenario = sweep.scenarios[name]
    points = chosen[name, fault]
    assert points
    wrong = {
        f"call {point}, {scenario.points[point]}": found
        for point in points
        if (found := sweep.trial(scenario, point, fault))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "lasting"), [("convert", False), ("update", True)], ids=["once", "for good"]
)
def test_short_writes_are_continued(sweep, name, lasting):
    scenario = sweep.scenarios[name]
    kinds = kinds_of(scenario.points)
    points = [places[-1] for kind, places in kinds.items() if kind.split()[0] in WRITES]
    assert len(points) >= 5
    for point in points[:1] if lasting else points:
        assert sweep.trial(scenario, point, Fault("short", lasting)) == []


@pytest.mark.parametrize("reason", ["EMFILE", "EACCES"])
def test_a_part_out_of_reach_is_not_thrown_away(sweep, reason):
    """Neither when the run begins nor when parts are joined."""
    scenario = sweep.scenarios["resume"]
    readings = [n for n, call in enumerate(scenario.points) if call.endswith("01.part")]
    readings = [n for n in readings if scenario.points[n].startswith("look")]
    begun = scenario.points.index("open o.h5.parts/000002.part.tmp")
    assert min(readings) < begun < max(readings)
    for point in readings:
        assert sweep.trial(scenario, point, Fault(reason, lasting=True)) == []
