import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specctl.audio.resample import Resampler, mix_channels, resampled_length
from specctl.errors import ParameterError
from tests.audio.conftest import noise, read, write

RATE_PAIRS = [
    (44_100, 16_000),
    (16_000, 44_100),
    (48_000, 16_000),
    (22_050, 44_100),
    (8_000, 16_000),
    (128_000, 16_000),
    (5_000, 22_050),
    (11_025, 16_000),
    (47_999, 16_001),
    (1_000, 96_000),
    (768_000, 8_000),
]
LENGTHS = [1, 2, 3, 100, 4_097, 50_003]


def resample_in_blocks(samples, source_rate, target_rate, cuts):
    resampler = Resampler(source_rate, target_rate)
    blocks = np.split(samples, cuts)
    last = len(blocks) - 1
    return np.concatenate([resampler.push(block, i == last) for i, block in enumerate(blocks)])


@pytest.mark.parametrize("n_samples", LENGTHS)
@pytest.mark.parametrize("rates", RATE_PAIRS, ids=lambda rates: f"{rates[0]}-{rates[1]}")
def test_gives_what_librosa_gives_for_the_whole(rates, n_samples):
    source, target = rates
    samples = noise(n_samples, 1)[:, 0]
    expected = librosa.resample(samples, orig_sr=source, target_sr=target, res_type="soxr_hq")
    for cuts in ([], [n_samples // 3], [0, n_samples // 2, n_samples]):
        got = resample_in_blocks(samples, source, target, cuts)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected)
    assert resampled_length(n_samples, source, target) == len(expected)


@settings(max_examples=60)
@given(
    st.sampled_from(RATE_PAIRS[:-2]),
    st.lists(st.integers(0, 700), min_size=1, max_size=12),
)
def test_does_not_depend_on_where_the_blocks_are_cut(rates, lengths):
    samples = noise(max(1, sum(lengths)), 1)[:, 0]
    whole = resample_in_blocks(samples, *rates, [])
    np.testing.assert_array_equal(resample_in_blocks(samples, *rates, np.cumsum(lengths)), whole)


@given(st.integers(0, 10**7), st.integers(1_000, 768_000), st.integers(1_000, 768_000))
def test_counts_samples_as_librosa_does(n_samples, source, target):
    expected = n_samples if source == target else int(np.ceil(n_samples * (target / source)))
    assert resampled_length(n_samples, source, target) == expected


def test_passes_blocks_through_when_the_rates_are_equal():
    block = noise(100, 1)[:, 0]
    assert Resampler(16_000, 16_000).push(block, False) is block


def test_makes_nothing_of_nothing():
    assert len(Resampler(44_100, 16_000).push(np.empty(0, np.float32), True)) == 0


def test_accepts_a_column_of_a_block_that_is_not_contiguous():
    block = noise(1_000, 2)
    np.testing.assert_array_equal(
        Resampler(44_100, 16_000).push(block[:, 1], True),
        Resampler(44_100, 16_000).push(block[:, 1].copy(), True),
    )


@pytest.mark.parametrize("rates", [(0, 16_000), (16_000, -1)], ids=["source", "target"])
def test_refuses_a_rate_below_one(rates):
    with pytest.raises(ParameterError, match=r"_rate must be at least 1 Hz, got "):
        Resampler(*rates)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 64, 1_024])
@pytest.mark.parametrize("n_samples", [1, 5, 4_099])
def test_mixes_bit_for_bit_like_librosa(n_samples, n_channels):
    block = noise(n_samples, n_channels)
    block[0] = -0.0
    expected = librosa.to_mono(block.T) if n_channels > 1 else block[:, 0]
    mixed = mix_channels(block)
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(mixed.view(np.uint32), expected.view(np.uint32))


@pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")
@pytest.mark.parametrize("n_channels", [1, 2])
def test_mixing_and_resampling_a_file_is_librosa_load(tmp_path, n_channels):
    path = write(tmp_path / "a.wav", noise(30_011, n_channels), rate=22_050)
    block = read(path)
    expected, _ = librosa.load(path, sr=16_000, res_type="soxr_hq")
    np.testing.assert_array_equal(
        Resampler(22_050, 16_000).push(mix_channels(block), True), expected
    )
