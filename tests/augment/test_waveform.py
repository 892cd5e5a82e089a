import math

import pytest
import torch

from specctl import augment
from specctl.errors import ParameterError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def ramps(n_clips=3, n_samples=101):
    """Every sample another number."""
    return torch.arange(1, n_clips * n_samples + 1).reshape(n_clips, n_samples).float()


def test_gain_changes_the_level_by_the_decibels_asked_for():
    change = augment.Gain(-6.0, -6.0, p=1.0)
    batch = ramps()
    level = 20 * torch.log10(change(batch).square().mean(1) / batch.square().mean(1)) / 2
    torch.testing.assert_close(level, torch.full((3,), -6.0), atol=1e-4, rtol=0)


def test_gains_are_spread_over_their_range_each_clip_its_own():
    change = augment.Gain(-12.0, 12.0, p=1.0)
    gain_db = 20 * torch.log10(change(torch.ones(1000, 1), generator=seeded()))[:, 0]
    assert -12 <= gain_db.min() < -11.5
    assert 11.5 < gain_db.max() <= 12
    assert len(gain_db.unique()) > 990


def test_p_is_the_share_of_clips_that_are_changed():
    n = 4000
    change = augment.Gain(6.0, 6.0, p=0.25)
    is_changed = change(torch.ones(n, 1), generator=seeded())[:, 0] != 1
    # five standard errors of a share
    assert abs(is_changed.float().mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / n)


def test_noise_has_the_amplitude_asked_for_and_spares_the_padding():
    change = augment.GaussianNoise(0.01, 0.01, p=1.0)
    lengths = torch.tensor([40_000, 10])
    noise = change(torch.zeros(2, 50_000), lengths, seeded())
    # the standard error of a standard deviation is sigma / sqrt(2 n)
    assert abs(noise[0, :40_000].std() - 0.01) < 5 * 0.01 / math.sqrt(80_000)
    assert not noise[0, 40_000:].any()
    assert not noise[1, 10:].any()
    assert noise[1, :10].all()


def test_noise_amplitudes_stay_in_their_range():
    change = augment.GaussianNoise(0.001, 0.015, p=1.0)
    amplitude = change(torch.zeros(200, 2000), generator=seeded()).std(1)
    slack = 5 / math.sqrt(4000)
    assert 0.001 * (1 - slack) < amplitude.min() < 0.002
    assert 0.014 < amplitude.max() < 0.015 * (1 + slack)


@pytest.mark.parametrize("by", [3, -5, 0, 101])
def test_shift_rolls_by_exact_samples(by):
    change = augment.Shift(by, by, "samples", fade_duration=0.0, p=1.0)
    batch = ramps()
    assert torch.equal(change(batch), batch.roll(by, dims=1))


def test_shift_rolls_the_valid_part_only():
    change = augment.Shift(2, 2, "samples", fade_duration=0.0, p=1.0)
    batch = torch.tensor([[1.0, 2, 3, 4, 0, 0], [1, 2, 3, 4, 5, 6]])
    shifted = change(batch, torch.tensor([4, 6]))
    assert shifted.tolist() == [[3, 4, 1, 2, 0, 0], [5, 6, 1, 2, 3, 4]]


@pytest.mark.parametrize(("by", "expected"), [(2, [0, 0, 1, 2]), (-1, [2, 3, 4, 0])])
def test_shift_without_rollover_lets_silence_in(by, expected):
    change = augment.Shift(by, by, "samples", rollover=False, fade_duration=0.0, p=1.0)
    assert change(torch.tensor([[1.0, 2, 3, 4]])).tolist() == [expected]


def test_shift_in_fractions_and_seconds():
    batch = ramps(1, 100)
    fraction = augment.Shift(0.25, 0.25, fade_duration=0.0, p=1.0)
    seconds = augment.Shift(0.5, 0.5, "seconds", fade_duration=0.0, sample_rate=50, p=1.0)
    assert torch.equal(fraction(batch), batch.roll(25, 1))
    assert torch.equal(seconds(batch), batch.roll(25, 1))


def test_shift_fades_on_both_sides_of_the_joint():
    change = augment.Shift(4, 4, "samples", fade_duration=0.02, sample_rate=100, p=1.0)
    shifted = change(torch.ones(1, 10))[0]
    assert shifted.tolist() == [1, 1, 0.5, 0, 0, 0.5, 1, 1, 1, 1]


def test_shift_by_nothing_does_not_fade():
    change = augment.Shift(0, 0, "samples", sample_rate=1000, p=1.0)
    assert change(torch.ones(1, 10)).tolist() == [[1.0] * 10]


CHANGES = {
    "gain": augment.Gain(p=0.5),
    "noise": augment.GaussianNoise(p=0.5),
    "shift": augment.Shift(sample_rate=8000, p=0.5),
    "pitch": augment.PitchShift(n_fft=64, p=0.5),
    "stretch": augment.TimeStretch(n_fft=64, p=0.5),
    "compose": augment.Compose([augment.Gain(p=0.5), augment.GaussianNoise(p=0.5)], p=0.8),
}


def draws(n_clips):
    return augment.Draws.keyed(3, torch.arange(n_clips))


@pytest.mark.parametrize("name", CHANGES)
def test_the_seed_decides_everything(name):
    batch = torch.randn(16, 333, generator=seeded(5))
    kept = batch.clone()
    first, second = (CHANGES[name](batch, generator=seeded(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, CHANGES[name](batch, generator=seeded(2)))
    assert torch.equal(batch, kept)


@pytest.mark.parametrize("name", CHANGES)
def test_a_clip_does_not_depend_on_its_neighbours(name):
    batch = torch.randn(8, 333, generator=seeded(5))
    lengths = torch.tensor([333, 300, 200, 100, 333, 64, 1, 333])
    together, _ = CHANGES[name].augment(batch, lengths, draws(8))
    other = torch.cat([torch.zeros(4, 333), batch[4:]])
    beside_silence, _ = CHANGES[name].augment(other, lengths, draws(8))
    assert torch.equal(together[4:], beside_silence[4:])
    halves = [
        CHANGES[name].augment(batch[part], lengths[part], draws(8)[part])[0]
        for part in (slice(0, 4), slice(4, 8))
    ]
    assert torch.equal(together, torch.cat(halves))


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_is_changed_in_evaluation(name):
    batch = torch.randn(8, 333, generator=seeded(5))
    try:
        assert CHANGES[name].eval()(batch) is batch
    finally:
        CHANGES[name].train()


def test_augmentations_are_differentiable():
    batch = torch.randn(2, 333, generator=seeded(5), requires_grad=True)
    change = augment.Compose(
        [augment.Gain(6.0, 6.0, p=1.0), augment.Shift(1, 1, "samples", fade_duration=0.0, p=1.0)]
    )
    change(batch).sum().backward()
    torch.testing.assert_close(batch.grad, torch.full((2, 333), 10 ** (6 / 20)))


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: augment.Gain(p=1.5), r"p must be in \[0, 1\], got 1.5"),
        (lambda: augment.Gain(-6, 1e5), r"max_gain_db must be in \[-200, 200\], got 100000"),
        (lambda: augment.Gain(-201, 0), r"min_gain_db must be in \[-200, 200\], got -201"),
        (lambda: augment.Gain(3, -3), "min_gain_db must be at most max_gain_db, both finite"),
        (lambda: augment.GaussianNoise(-1, 1), "min_amplitude must be at least 0, got -1"),
        (lambda: augment.GaussianNoise(0.1, math.nan), "got 0.1 and nan"),
        (augment.Shift, "sample_rate must be given with fade_duration above 0"),
        (
            lambda: augment.Shift(fade_duration=1e308, sample_rate=8000),
            r"fade_duration must be in \[0, 3600\], got 1e\+308",
        ),
        (lambda: augment.Shift(sample_rate=0), "sample_rate must be at least 1, got 0"),
        (lambda: augment.Shift(shift_unit="bars"), "fraction or samples or seconds, got 'bars'"),
        (lambda: augment.PitchShift(-30, 0), r"min_semitones must be in \[-24, 24\], got -30"),
        (lambda: augment.TimeStretch(0, 1), r"min_rate must be in \[0.1, 10\], got 0"),
        (lambda: augment.TimeStretch(n_fft=30), "n_fft must be a multiple of 4, at least 16"),
        (lambda: augment.Compose([]), "augmentations must all take waveforms or all"),
        (lambda: augment.Compose([augment.Gain(), augment.SpecAugment()]), "Gain, SpecAugment"),
        (lambda: augment.Gain()(torch.zeros(4)), r"\(batch, samples\), got torch.float32 of"),
        (
            lambda: augment.Gain()(torch.zeros(2, 4), torch.tensor([4])),
            r"lengths must have shape \(2,\), one for each clip, got \(1,\)",
        ),
    ],
)
def test_wrong_settings_are_named(build, text):
    with pytest.raises(ParameterError, match=text):
        build()
