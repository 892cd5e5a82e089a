"""Doubts appear when they must, and not otherwise."""

import pytest

from specctl.bench.doubts import find_doubts
from specctl.bench.results import Cell, Report
from specctl.bench.workload import Workload

WORKLOAD = Workload("mel", "log-mel", 8000, 64, 16, 8, 1, 0.25, "cpu", 1)
STEADY = [1.0] * 10


def report_of(*cells, load=0.0):
    machine = {"load_at_start": load, "cores": 2}
    report = Report(date="", machine=machine, versions={}, flags={}, settings={})
    report.cells += cells
    return report


def cell(samples, name="fake", **values):
    return Cell(name, "fp32", WORKLOAD, samples_s=samples, **values)


def test_a_steady_run_is_not_doubted():
    assert find_doubts(report_of(cell(STEADY, cores_busy=1.0))) == []


@pytest.mark.parametrize(
    ("doubted", "cure"),
    [
        (cell([1.0, 1.3, 1.15, 1.3, 1.0] * 2), "times vary by more than 15 %"),
        (cell([1.0] * 5 + [1.06] * 5), "two halves of the rounds differ by more than 5 %"),
        (cell([1e-5] * 10, n_calls=20), "a sample lasts less than 1 ms"),
        (cell([1.0] * 5), "fewer than 6 samples; give more --rounds"),
        (cell(STEADY, cores_busy=1.9), "kept more than one core busy when one was allowed"),
    ],
    ids=["noisy", "unsteady", "short", "few", "greedy"],
)
def test_a_doubt_names_the_cell_and_the_cure(doubted, cure):
    (text,) = find_doubts(report_of(doubted))
    assert text.startswith("fake (mel 64): ")
    assert cure in text


def test_all_slower_together_is_the_machine():
    warming = [1.0] * 5 + [1.04] * 5
    (text,) = find_doubts(report_of(cell(warming, "a"), cell(warming, "b")))
    assert "everybody got slower while it ran, by 4%" in text
    assert "cool down" in text


def test_one_that_gets_slower_is_not_the_machine():
    warming = [1.0] * 5 + [1.04] * 5
    assert find_doubts(report_of(cell(warming, "a"), cell(STEADY, "b"), cell(STEADY, "c"))) == []


def test_load_at_the_start_is_doubted():
    (text,) = find_doubts(report_of(cell(STEADY), load=1.5))
    assert text == ("the load was 1.5 on 2 cores at the start; run again when nothing else runs")


def test_many_of_a_kind_are_one_sentence():
    cells = [cell([1.0] * 3, f"c{number}") for number in range(7)]
    (text,) = find_doubts(report_of(*cells))
    assert text.startswith("c0 (mel 64), c1 (mel 64), c2 (mel 64), c3 (mel 64) and 3 more: ")
