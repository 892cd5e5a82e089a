"""A plan is what its sources say, and what was found out about them since."""

import os
from pathlib import Path

import pytest

from specctl.convert.plan import Plan, PlannedSource
from specctl.convert.request import Request

UNSEEN = "permission denied"


@pytest.fixture
def plan():
    """Two parts of two sources each, of which one could not be looked at."""

    def source(key, poison=""):
        return PlannedSource(key, f"/in/{key}", 1, 2, 16_000, 1, 1.0, "", poison=poison)

    return Plan(((source("a"), source("b", UNSEEN)), (source("c"), source("d"))))


def poison_of(plan):
    return {source.key: source.poison for source in plan.sources}


def test_a_source_stays_poisoned_when_others_are(plan):
    first = plan.poisoned({"a": "hung"})
    assert poison_of(first) == {"a": "hung", "b": UNSEEN, "c": "", "d": ""}
    second = first.poisoned({"d": "died"})
    assert poison_of(second) == {"a": "hung", "b": UNSEEN, "c": "", "d": "died"}
    assert second.poisoned({}) == second.poisoned({"d": "died"}) == second


def test_poison_is_no_other_plan(plan):
    poisoned = plan.poisoned({"a": "hung", "elsewhere": "died"})
    keys = [[source.key for source in part] for part in poisoned.parts]
    assert keys == [["a", "b"], ["c", "d"]]
    assert poison_of(plan)["a"] == ""


def test_lines_of_json_keep_everything(plan):
    poisoned = plan.poisoned({"c": "died"})
    assert Plan.from_json_lines(poisoned.to_json_lines()) == poisoned


def test_a_job_finds_its_files_in_every_locale(monkeypatch):
    name = "/in/\xfc\u3042.wav".encode() + b"\xff"

    def begun():
        path = os.fsdecode(name)
        plan = Plan(((PlannedSource("key", path, 1, 2, 16_000, 1, 1.0, ""),),))
        identity = Request((Path(path),), (), (), None).identity()
        return plan, plan.to_json_lines(), identity

    _, lines, identity = begun()
    monkeypatch.setattr(os, "fsdecode", lambda given: given.decode("latin-1"))
    monkeypatch.setattr(os, "fsencode", lambda given: given.encode("latin-1"))
    assert begun() == (Plan.from_json_lines(lines), lines, identity)
