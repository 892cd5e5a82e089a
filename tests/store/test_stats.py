import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specctl.errors import StoreError
from specctl.store.stats import Moments, MomentsGatherer

# float64 sums in another order
TOLERANCE = 1e-12


def moments(frames, cuts=()):
    gatherer = MomentsGatherer(frames.shape[1])
    for piece in np.split(frames, sorted(cuts)):
        gatherer.add(piece)
    return gatherer.finish()


def frames_of(n_frames, width=3, seed=0):
    random = np.random.default_rng(seed)
    return (random.standard_normal((n_frames, width)) * 10 - 40).astype(np.float32)


@given(st.lists(st.integers(0, 70_000), max_size=6))
def test_is_the_same_bits_however_the_frames_arrive(cuts):
    frames = frames_of(70_000)
    whole, pieces = moments(frames), moments(frames, cuts)
    assert whole.mean.tobytes() == pieces.mean.tobytes()
    assert whole.m2.tobytes() == pieces.m2.tobytes()


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_items_combine_to_the_moments_of_all_frames(lengths):
    total = Moments.empty(3)
    items = [frames_of(n, seed=seed) for seed, n in enumerate(lengths)]
    for item in items:
        total.add(moments(item))
    everything = np.concatenate(items).astype(np.float64)
    assert total.count == len(everything)
    if total.count:
        np.testing.assert_allclose(total.mean, everything.mean(axis=0), rtol=TOLERANCE)
        np.testing.assert_allclose(total.std, everything.std(axis=0), rtol=1e-9, atol=TOLERANCE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 30_000, 69_999])
def test_refuses_values_that_are_not_finite(value, place):
    frames = frames_of(70_000)
    frames[place, 1] = value
    with pytest.raises(StoreError, match="values that are not finite"):
        moments(frames)


def test_takes_the_largest_float32():
    frames = np.full((2000, 3), np.finfo(np.float32).max)
    assert np.isfinite(moments(frames).std).all()
