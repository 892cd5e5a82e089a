import random

import numpy as np
import pytest
import torch

from specctl import augment


def noisy(samples, sample_rate):
    """What audiomentations' transforms do: draw from the generators of the process."""
    assert sample_rate == 16000
    return samples * random.random() + np.random.normal(size=len(samples)).astype(np.float32)


def test_each_clip_is_seeded_by_its_own_seed():
    change = augment.FromAudiomentations(noisy, 16000)
    batch = torch.ones(4, 50)
    first, second = (change(batch, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert len(first[:, 0].unique()) == 4


def test_the_generators_of_the_process_are_left_as_they_were():
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    augment.FromAudiomentations(noisy, 16000)(torch.ones(4, 50))
    assert (random.random(), np.random.rand()) == expected


def test_only_the_valid_part_is_given_and_a_new_length_is_taken():
    def half(samples, sample_rate):
        assert (samples == 1).all()
        return samples[::2]

    change = augment.FromAudiomentations(half, 16000)
    batch = torch.tensor([[1.0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    draws = augment.Draws.keyed(torch.arange(2))
    changed, lengths = change.augment(batch, torch.tensor([4, 6]), draws)
    assert changed.tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    assert lengths.tolist() == [2, 3]


def test_a_transform_of_audiomentations():
    audiomentations = pytest.importorskip("audiomentations")
    inner = audiomentations.Gain(min_gain_db=-6.0, max_gain_db=-6.0, p=1.0)
    changed = augment.FromAudiomentations(inner, 16000)(torch.ones(2, 50))
    torch.testing.assert_close(changed, torch.full((2, 50), 10 ** (-6 / 20)))


def test_a_clip_of_one_sample_may_be_turned_around():
    def turned(samples, sample_rate):
        return samples[::-1]

    change = augment.FromAudiomentations(turned, 16000)
    changed = change(torch.tensor([[1.0, 0], [2, 3]]), torch.tensor([1, 2]))
    assert changed.tolist() == [[1, 0], [3, 2]]
