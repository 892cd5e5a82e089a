"""Bands of products and the gradient the way back, compiled, against float64."""

import numpy as np
import pytest

from specctl.kernels.native.bands import NativeBands

N_MELS, N_FREQS = 9, 33
# whole groups of every processor, their rests of eights, and single columns
COLUMNS = (1, 7, 8, 9, 63, 64, 72, 201)


def mel():
    """Triangles; the last band is empty, and so is the first bin and the last one."""
    weights = np.zeros((N_MELS, N_FREQS), np.float32)
    rng = np.random.default_rng(0)
    for band in range(N_MELS - 1):
        first = 1 + 3 * band
        weights[band, first : first + 6] = rng.uniform(0.1, 1, 6)
    return weights


def numbers(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def expected(products, weights, power):
    """Magnitudes and bands in float64."""
    real, imag = np.split(products.astype(np.float64), 2)
    magnitudes = np.hypot(real, imag)
    return magnitudes, weights.astype(np.float64) @ magnitudes**power


@pytest.mark.parametrize("n_columns", COLUMNS)
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_bands_are_weighted_sums(power, n_columns):
    products, weights = numbers(2 * N_FREQS, n_columns), mel()
    out = np.full((N_MELS, n_columns), np.nan, np.float32)
    NativeBands(weights, power).values(products, out)
    np.testing.assert_allclose(out, expected(products, weights, power)[1], rtol=1e-6)


@pytest.mark.parametrize("n_columns", COLUMNS)
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_gradient_is_that_of_the_bands(power, n_columns):
    products, weights = numbers(2 * N_FREQS, n_columns), mel()
    gradient = numbers(N_MELS, n_columns, seed=2)
    out = np.full_like(products, np.nan)
    NativeBands(weights, power).weigh(products, gradient, out)
    magnitudes, _ = expected(products, weights, power)
    # d|X|^p / dX = p |X|^(p - 2) X
    slope = power * magnitudes ** (power - 2) * (weights.T.astype(np.float64) @ gradient)
    np.testing.assert_allclose(out, products * np.tile(slope, (2, 1)), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_silence_has_no_slope(power):
    products = numbers(2 * N_FREQS, 70)
    products[:, 3] = 0
    out = np.full_like(products, np.nan)
    NativeBands(mel(), power).weigh(products, numbers(N_MELS, 70), out)
    assert np.all(out[:, 3] == 0)
    assert np.isfinite(out).all()


def test_what_is_not_a_number_is_not_hidden():
    products = numbers(2 * N_FREQS, 70)
    products[5, 3] = np.nan
    out = np.zeros_like(products)
    NativeBands(mel(), 1.0).weigh(products, numbers(N_MELS, 70), out)
    assert np.isnan(out[5, 3])


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_rows_may_lie_apart_and_the_gradient_in_place_of_the_products(power):
    wide = numbers(2 * N_FREQS, 300)
    products, gradient = wide[:, 40:140], numbers(N_MELS, 180)[:, 50:150]
    bands = NativeBands(mel(), power)
    whole = np.empty((2 * N_FREQS, 100), np.float32)
    bands.weigh(np.ascontiguousarray(products), np.ascontiguousarray(gradient), whole)
    before = wide.copy()
    bands.weigh(products, gradient, products)
    np.testing.assert_array_equal(wide[:, 40:140], whole)
    wide[:, 40:140] = before[:, 40:140]
    np.testing.assert_array_equal(wide, before)
