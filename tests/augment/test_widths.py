"""What a clip becomes does not depend on how far a batch is padded."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specctl import augment
from tests.dsp.signals import noise

CHANGES = {
    "gain": augment.Gain(p=1.0),
    "noise": augment.GaussianNoise(p=1.0),
    "shift": augment.Shift(sample_rate=8000, p=1.0),
    "shift without rollover": augment.Shift(rollover=False, sample_rate=8000, p=1.0),
    "pitch": augment.PitchShift(n_fft=64, p=1.0),
    "stretch": augment.TimeStretch(n_fft=64, p=1.0),
    "stretch to another length": augment.TimeStretch(
        n_fft=64, leave_length_unchanged=False, p=1.0
    ),
    "foreign": augment.FromAudiomentations(lambda samples, sample_rate: samples[::-1], 8000),
    "several": augment.Compose([augment.GaussianNoise(p=1.0), augment.TimeStretch(n_fft=64)]),
    "frequency": augment.FrequencyMasking(8, fill="mean"),
    "time": augment.TimeMasking(8, fill="mean"),
    "specaugment": augment.SpecAugment(),
}


@pytest.mark.parametrize("name", CHANGES)
@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 300),
    padding=st.integers(1, 300),
    seed=st.integers(0, 2**62 - 1),
)
def test_a_clip_is_the_same_however_wide_its_batch(name, length, padding, seed):
    change = CHANGES[name]
    batch = noise(2, length) if change.n_dims == 2 else noise(2, 20, length)
    wider = torch.nn.functional.pad(batch, (0, padding))
    lengths, seeds = torch.tensor([length, length]), torch.tensor([seed, seed + 1])
    narrow, kept = change.augment(batch, lengths, augment.Draws(seeds))
    wide, kept_too = change.augment(wider, lengths, augment.Draws(seeds))
    assert torch.equal(kept, kept_too)
    assert torch.equal(narrow, wide[..., : narrow.shape[-1]])
    assert not wide[..., narrow.shape[-1] :].any()
