"""Each system call of a conversion fails in turn: an error in one line, and nothing is lost.

The calls are those of a small job in one process. To bear it with every change, most of many
writes in a row are left out, and what leaves the same files as another trial; of the three faults
each call of a longer job meets one at most. The full size is that of ``tests/faults/torture.py``.
"""

import pytest

from tests.faults.shim import WRITES
from tests.faults.sweep import CI_FAULTS, Fault

KEPT_OF_WRITES = 12
MOST = 16
SCENARIOS = ("convert", "resume", "update", "overwrite", "tidy up", "repair")
SAME_AS_THE_NEXT = {
    # a kill leaves the same files before a call that changes none as before the next one
    "kill": ("look", "close", "fsync", "flock"),
    # and no disk is too full to be looked at
    "ENOSPC": ("look", "flock"),
}


def chosen(points, fault):
    """Numbers of the calls, of writes in a row only the first, the last and a few between."""
    kept = []
    for number, call in enumerate(points):
        kind = call.split()[0]
        is_inner = points[max(0, number - 1)] == call == points[min(len(points), number + 2) - 1]
        is_spared = is_inner and kind in WRITES and number % KEPT_OF_WRITES
        is_same = number + 1 < len(points) and kind in SAME_AS_THE_NEXT.get(fault.name, ())
        if not (is_spared or is_same):
            kept.append(number)
    step = -(-len(kept) // MOST)
    return kept[CI_FAULTS.index(fault) % step :: step]


@pytest.mark.parametrize("fault", CI_FAULTS, ids=str)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_at_any_call_loses_nothing(sweep, name, fault):
    scenario = sweep.scenarios[name]
    points = chosen(scenario.points, fault)
    assert len(points) > 10
    wrong = {
        f"call {point}, {scenario.points[point]}": found
        for point in points
        if (found := sweep.trial(scenario, point, fault))
    }
    assert wrong == {}


@pytest.mark.parametrize("name", ["convert", "update"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
def test_short_writes_are_continued(sweep, name, lasting):
    scenario = sweep.scenarios[name]
    points = [place for place, call in enumerate(scenario.points) if call.split()[0] in WRITES]
    for point in points[:1] if lasting else points[::5]:
        assert sweep.trial(scenario, point, Fault("short", lasting)) == []


@pytest.mark.parametrize("name", ["convert", "resume"])
@pytest.mark.parametrize("reason", ["EMFILE", "EACCES"])
def test_a_part_out_of_reach_is_not_thrown_away(sweep, name, reason):
    scenario = sweep.scenarios[name]
    readings = [n for n, call in enumerate(scenario.points) if call.endswith("00.part")]
    readings = [n for n in readings if scenario.points[n].startswith("look")]
    assert readings
    for point in readings:
        assert sweep.trial(scenario, point, Fault(reason, lasting=True)) == []
