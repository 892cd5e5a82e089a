"""What a clip becomes does not depend on how far a batch is padded nor on how many are in it."""

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
    "pitch by long frames": augment.PitchShift(p=1.0),
    "stretch by long frames": augment.TimeStretch(p=1.0),
    "stretch far": augment.TimeStretch(4.0, 10.0, n_fft=64, p=1.0),
    "stretch by frames of 600": augment.TimeStretch(n_fft=600, p=1.0),
    "foreign": augment.FromAudiomentations(lambda samples, sample_rate: samples[::-1], 8000),
    "several": augment.Compose([augment.GaussianNoise(p=1.0), augment.TimeStretch(n_fft=64)]),
    "frequency": augment.FrequencyMasking(8, fill="mean"),
    "time": augment.TimeMasking(8, fill="mean"),
    "specaugment": augment.SpecAugment(),
}


@pytest.mark.parametrize("name", CHANGES)
@settings(max_examples=25)
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


@pytest.mark.parametrize("filling", [1.0, torch.nan])
@pytest.mark.parametrize("name", CHANGES)
def test_a_clip_is_the_same_whatever_lies_behind_it(name, filling):
    change = CHANGES[name]
    batch = noise(2, 300) if change.n_dims == 2 else noise(2, 20, 300)
    wanted, kept = change.augment(batch, torch.tensor([300, 300]), augment.Draws.keyed(7, 8))
    wider = torch.nn.functional.pad(batch, (0, 200), value=filling)
    found, kept_too = change.augment(wider, torch.tensor([300, 300]), augment.Draws.keyed(7, 8))
    assert torch.equal(kept, kept_too)
    for clip, length in enumerate(kept.tolist()):
        assert torch.equal(found[clip, ..., :length], wanted[clip, ..., :length])


@pytest.fixture
def threads():
    """Sets their number."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("dtype", "n_threads"), [(torch.float32, 1), (torch.float32, 3), (torch.float64, 3)]
)
# from 30,000 numbers on, torch shares a batch among its threads
@pytest.mark.parametrize("length", [333, 5000, 31_001])
@pytest.mark.parametrize("name", CHANGES)
def test_a_clip_is_the_same_however_many_are_in_its_batch(name, length, dtype, n_threads, threads):
    change = CHANGES[name]
    batch = (noise(8, length) if change.n_dims == 2 else noise(8, 20, length // 20)).to(dtype)
    lengths = torch.full((8,), batch.shape[-1])
    threads(n_threads)
    together, kept = change.augment(batch, lengths, augment.Draws.keyed(3, torch.arange(8)))
    for clip in (0, 3, 7):
        part = slice(clip, clip + 1)
        alone, kept_too = change.augment(
            batch[part], lengths[part], augment.Draws.keyed(3, torch.arange(8))[part]
        )
        assert kept[clip] == kept_too[0]
        assert torch.equal(alone[0], together[clip, ..., : alone.shape[-1]])
        assert not together[clip, ..., alone.shape[-1] :].any()


@pytest.mark.parametrize("n_at_once", [4, 16])
@pytest.mark.parametrize("name", ["pitch", "stretch", "stretch by frames of 600"])
def test_a_clip_is_the_same_where_the_last_ffts_of_a_call_round_otherwise(
    name, n_at_once, monkeypatch
):
    """As on ARM, where those that fill a vector register are computed together."""
    stft, istft = torch.stft, torch.istft

    def rounded(spectra):
        n_rows = spectra.shape[0] * spectra.shape[2]
        rows = spectra.transpose(1, 2).reshape(n_rows, -1).clone()
        rows[n_rows - n_rows % n_at_once :] *= 1.001
        return rows.reshape(spectra.shape[0], spectra.shape[2], -1).transpose(1, 2)

    monkeypatch.setattr(torch, "stft", lambda *args, **given: rounded(stft(*args, **given)))
    monkeypatch.setattr(
        torch, "istft", lambda first, *args, **given: istft(rounded(first), *args, **given)
    )
    batch, lengths = noise(3, 5000), torch.full((3,), 5000)
    together, _ = CHANGES[name].augment(batch, lengths, augment.Draws.keyed(3, torch.arange(3)))
    for clip in range(3):
        part = slice(clip, clip + 1)
        draws = augment.Draws.keyed(3, torch.arange(3))[part]
        alone, _ = CHANGES[name].augment(batch[part], lengths[part], draws)
        assert torch.equal(alone[0], together[clip, : alone.shape[-1]])
