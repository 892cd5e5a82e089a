"""The order in which things reach the disk: what a power cut leaves depends on nothing else."""

import posixpath

import pytest

from tests.faults.shim import QUIET

SCENARIOS = ("convert", "resume", "update", "overwrite", "repair")


@pytest.fixture(params=SCENARIOS)
def calls(request, sweep):
    """What a conversion does in the folder of its store: pairs of call and path."""
    return [tuple(line.split(" ", 1)) for line in sweep.scenarios[request.param].points]


def renames(calls):
    found = [(place, path) for place, (call, path) in enumerate(calls) if call == "rename"]
    assert len(found) >= 2
    return found


def test_a_file_is_durable_before_it_has_its_name(calls):
    for place, path in renames(calls):
        before = [call for call, other in calls[:place] if other == path]
        begun = len(before) - 1 - before[::-1].index("open")
        done = [call for call in before[begun:] if call not in QUIET]
        assert done[-1] == "fsync", (path, done)
        assert {"write", "pwrite"} & set(done)


def test_a_name_is_durable_before_anything_else_is_done(calls):
    for place, path in renames(calls):
        # the store leaves the working folder for the one above
        is_store = path.endswith("/merged.h5")
        folder = "." if is_store else posixpath.dirname(path)
        assert calls[place + 1 : place + 3] == [("look", folder), ("fsync", folder)], path


def test_the_working_folder_is_durable_before_a_part_has_its_name(sweep):
    calls = sweep.scenarios["convert"].points
    first_part = next(
        n for n, call in enumerate(calls) if call.startswith("rename o.h5.parts/000")
    )
    assert "fsync ." in calls[calls.index("mkdir o.h5.parts") : first_part]


def test_parts_stay_until_the_store_has_its_name(calls):
    (published,) = [place for place, path in renames(calls) if path.endswith("/merged.h5")]
    removed = [
        place
        for place, (call, path) in enumerate(calls)
        if call == "unlink" and path.endswith((".part", "job.json"))
    ]
    assert len(removed) >= 2
    assert min(removed) > published


def test_the_store_is_never_opened_to_write(calls):
    touched = {call for call, path in calls if path == "o.h5"}
    assert touched <= {*QUIET}


def test_nothing_is_written_before_the_lock_is_held(calls):
    changing = [each for each in calls if each[0] not in QUIET]
    before = changing[: [call for call, _ in changing].index("flock")]
    assert before[0][0] == "mkdir"
    # twice where it was there before
    assert {*before[1:]} == {("open", "o.h5.parts/lock")}


def test_what_killed_runs_were_writing_goes_before_anything_is_written(sweep):
    calls = sweep.scenarios["resume"].points
    removed = [n for n, call in enumerate(calls) if call == "unlink o.h5.parts/000002.part.tmp"]
    begun = [n for n, call in enumerate(calls) if call.startswith("open ") and "part.tmp" in call]
    assert len(removed) == 2
    assert max(removed) < min(begun)
