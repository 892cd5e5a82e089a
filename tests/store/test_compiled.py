"""The compiled loops beside what NumPy says."""

import numpy as np
import pytest

from specctl.store.compiled import moments, shuffle


@pytest.mark.parametrize("width", [1, 7, 8, 13, 80, 513, 2050])
@pytest.mark.parametrize("n_frames", [1, 2, 31])
def test_moments_are_sums_from_first_to_last(width, n_frames):
    block = np.random.default_rng(width).normal(-30, 10, (n_frames, width)).astype(np.float32)
    mean, m2 = np.full(width, np.nan), np.full(width, np.nan)
    moments(width)(block, mean, m2)
    values = block.astype(np.float64)
    wanted = sum(values, np.zeros(width)) / n_frames
    np.testing.assert_array_equal(mean, wanted)
    np.testing.assert_array_equal(m2, sum((values - wanted) ** 2, np.zeros(width)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 7, 8, 12])
def test_a_mean_of_what_is_not_finite_is_not_finite(bad, column):
    block = np.zeros((5, 13), np.float32)
    block[3, column] = bad
    mean, m2 = np.zeros(13), np.zeros(13)
    moments(13)(block, mean, m2)
    assert np.flatnonzero(~np.isfinite(mean)).tolist() == [column]


@pytest.mark.parametrize("item_bytes", [2, 4])
@pytest.mark.parametrize("n_values", [1, 31, 32, 33, 1000, 4096])
def test_shuffle_is_a_transposition_of_bytes(item_bytes, n_values):
    data = np.random.default_rng(0).integers(0, 256, n_values * item_bytes, dtype=np.uint8)
    planes = np.zeros((item_bytes, n_values), np.uint8)
    shuffle(item_bytes)(data.view(f"u{item_bytes}"), planes)
    np.testing.assert_array_equal(planes, data.reshape(-1, item_bytes).T)
