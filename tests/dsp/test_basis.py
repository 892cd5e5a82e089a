import numpy as np
import pytest

from specctl.config import StftConfig
from specctl.dsp.basis import fourier_basis

# half a unit in the last place of float32 near 1
HALF_ULP = 2.0**-24


def exact_rows(config):
    """Cosines and sines with the angle reduced in whole numbers, float64."""
    freq = np.arange(config.n_freqs)[:, None]
    angle = (freq * np.arange(config.n_fft)) % config.n_fft * (2 * np.pi / config.n_fft)
    return np.cos(angle), -np.sin(angle)


@pytest.mark.parametrize("n_fft", [2, 3, 101, 400, 2048])
def test_rows_are_exact_to_the_last_bit_of_float32(n_fft):
    config = StftConfig.resolve(n_fft=n_fft, window="boxcar")
    basis = fourier_basis(config).numpy()
    assert basis.shape == (2 * config.n_freqs, n_fft)
    assert basis.dtype == np.float32
    expected = np.concatenate(exact_rows(config))
    assert np.abs(basis - expected).max() <= HALF_ULP


def test_the_top_bins_are_as_exact_as_the_lowest():
    config = StftConfig.resolve(n_fft=2048, window="boxcar")
    top = fourier_basis(config)[config.n_freqs - 1].numpy()
    assert (top == np.tile([1, -1], 1024)).all()


@pytest.mark.parametrize(("n_fft", "win_length"), [(64, 64), (101, 33)])
def test_products_with_frames_are_their_fourier_transform(n_fft, win_length):
    config = StftConfig.resolve(n_fft=n_fft, win_length=win_length, window="hamming")
    frame = np.random.default_rng(0).standard_normal(n_fft)
    parts = fourier_basis(config).double().numpy() @ frame
    taper = np.zeros(n_fft)
    before = (n_fft - win_length) // 2
    turn = 2 * np.pi * np.arange(win_length) / win_length
    taper[before : before + win_length] = 0.54 - 0.46 * np.cos(turn)
    expected = np.fft.rfft(frame * taper)
    got = parts[: config.n_freqs] + 1j * parts[config.n_freqs :]
    np.testing.assert_allclose(got, expected, rtol=0, atol=HALF_ULP * np.abs(frame).sum())
