"""Failures in a row are those of the plan, in whatever order its parts are made."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from specctl.convert.streaks import Streaks


@st.composite
def runs(draw):
    """Parts of files that failed or not, and an order in which they are made."""
    parts = draw(st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1))
    return parts, draw(st.permutations(range(len(parts))))


def longest_streak(parts):
    files = [is_failed for part in parts for is_failed in part]
    return max((len(list(group)) for is_failed, group in groupby(files) if is_failed), default=0)


@given(runs(), st.integers(1, 12))
def test_a_streak_is_too_long_exactly_if_it_is_so_in_the_plan(run, most):
    parts, order = run
    streaks = Streaks(most)
    found = {number: streaks.add(number, parts[number]) for number in order}
    assert any(place is not None for place in found.values()) == (longest_streak(parts) >= most)
    assert all(parts[number][place] for number, place in found.items() if place is not None)
