import torch

from specctl.bench.audio import clips, rotation
from specctl.bench.workload import Workload


def workload(batch=2, seconds=6.0):
    return Workload("mel", "log-mel", 8000, 64, 16, 8, batch, seconds, "cpu", 1)


def test_is_never_silent_and_never_clipped():
    audio = clips(workload())
    frames = audio.unfold(-1, 64, 64)
    assert (frames.abs().amax(-1) > 0).all()
    assert 0.5 < audio.abs().max() < 1.0


def test_is_whole_steps_of_16_bit():
    steps = clips(workload()) * 32768
    assert torch.equal(steps, steps.round())


def test_is_the_same_every_time_and_another_for_each_clip():
    first, second = clips(workload()), clips(workload())
    assert torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_is_as_long_as_asked_for():
    assert clips(workload(batch=3, seconds=0.33)).shape == (3, 2640)


def test_rotated_batches_are_larger_than_the_cache_together():
    batches = rotation(workload(), cache_bytes=10**6)
    assert sum(4 * batch.numel() for batch in batches) > 2 * 10**6
    assert len({batch.data_ptr() for batch in batches}) == len(batches) >= 3
    assert not torch.equal(batches[0], batches[1])
