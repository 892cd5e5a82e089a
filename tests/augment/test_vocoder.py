import math

import pytest
import torch

from specctl import augment

SAMPLE_RATE = 8000
N_SAMPLES = 8000
# a parabola through the bins around the peak of a windowed sine finds it within 0.02 bins
FREQUENCY_TOLERANCE = 0.03 * SAMPLE_RATE / N_SAMPLES * 2


def sine(frequency, n_samples=N_SAMPLES):
    return (2 * math.pi * frequency * torch.arange(n_samples) / SAMPLE_RATE).sin()


def peak_frequency(waveform):
    """Frequency of the strongest partial, from the middle half of the clip."""
    n = len(waveform)
    middle = waveform[n // 4 : n - n // 4].double()
    power = torch.fft.rfft(middle * torch.hann_window(len(middle))).abs().square().log()
    k = int(power.argmax())
    below, here, above = power[k - 1 : k + 2].tolist()
    offset = 0.5 * (below - above) / (below - 2 * here + above)
    return (k + offset) * SAMPLE_RATE / len(middle)


@pytest.mark.parametrize("semitones", [-12.0, -4.0, 3.0, 7.5, 12.0])
def test_a_sine_moves_by_the_semitones_asked_for(semitones):
    change = augment.PitchShift(semitones, semitones, p=1.0)
    shifted = change(sine(440.0)[None])
    assert shifted.shape == (1, N_SAMPLES)
    expected = 440.0 * 2 ** (semitones / 12)
    assert abs(peak_frequency(shifted[0]) - expected) < FREQUENCY_TOLERANCE


def test_clips_of_a_batch_move_each_by_its_own_interval():
    change = augment.PitchShift(-4.0, 4.0, p=1.0)
    generator = torch.Generator().manual_seed(0)
    shifted = change(sine(440.0).repeat(6, 1), generator=generator)
    found = [12 * math.log2(peak_frequency(clip) / 440.0) for clip in shifted]
    assert all(-4.01 < semitones < 4.01 for semitones in found)
    assert max(found) - min(found) > 2


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0, 1.25, 2.0])
def test_stretching_changes_the_length_and_keeps_the_pitch(rate):
    change = augment.TimeStretch(rate, rate, leave_length_unchanged=False, p=1.0)
    lengths = torch.tensor([N_SAMPLES, 6001])
    batch = torch.stack([sine(440.0), sine(600.0)])
    draws = augment.Draws.keyed(torch.arange(2))
    stretched, new_lengths = change.augment(batch, lengths, draws)
    assert new_lengths.tolist() == [round(N_SAMPLES / rate), round(6001 / rate)]
    assert stretched.shape[1] == max(N_SAMPLES, round(N_SAMPLES / rate))
    for clip, length, frequency in zip(stretched, new_lengths, (440.0, 600.0), strict=True):
        assert not clip[length:].any()
        # the middle half lies well inside the sound
        found = peak_frequency(clip[:length])
        assert abs(found - frequency) < FREQUENCY_TOLERANCE * max(1, N_SAMPLES / float(length))


@pytest.mark.parametrize("rate", [0.8, 1.25])
def test_an_event_comes_earlier_by_the_rate(rate):
    click = torch.zeros(1, N_SAMPLES)
    click[0, 4000:4200] = sine(1000.0, 200)
    stretched = augment.TimeStretch(rate, rate, n_fft=256, p=1.0)(click)[0]
    energy = stretched.square()
    centre = (energy * torch.arange(N_SAMPLES)).sum() / energy.sum()
    # a frame of 256 samples blurs an event by its hop
    assert abs(centre - 4100 / rate) < 64


@pytest.mark.parametrize(("rate", "valid"), [(2.0, 4000), (0.5, 8000)])
def test_the_length_is_left_as_it_was_by_default(rate, valid):
    change = augment.TimeStretch(rate, rate, p=1.0)
    stretched, lengths = change.augment(
        sine(440.0)[None], torch.tensor([N_SAMPLES]), augment.Draws.keyed(1)
    )
    assert stretched.shape == (1, N_SAMPLES)
    assert lengths.tolist() == [valid]
    assert not stretched[0, valid:].any()


def test_a_rate_of_one_gives_the_clip_back():
    batch = torch.randn(2, 60_000, generator=torch.Generator().manual_seed(0))
    stretched = augment.TimeStretch(1.0, 1.0, p=1.0)(batch)
    # the phase that 235 frames have turned by is as exact as that of one in float32
    torch.testing.assert_close(stretched, batch, atol=4e-6, rtol=0)


@pytest.mark.parametrize("rate", [0.7, 5.0])
def test_faint_clips_are_stretched_as_loud_ones(rate):
    batch = torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))
    change = augment.TimeStretch(rate, rate, p=1.0)
    # squares of these are 0 in float32
    assert torch.equal(change(batch * 2.0**-80), change(batch) * 2.0**-80)


@pytest.mark.parametrize("n_samples", [1, 15, 16, 1023])
def test_clips_shorter_than_a_frame_keep_their_shape(n_samples):
    batch = torch.randn(2, n_samples, generator=torch.Generator().manual_seed(0))
    for change in (augment.PitchShift(p=1.0), augment.TimeStretch(p=1.0)):
        changed = change(batch, generator=torch.Generator().manual_seed(0))
        assert changed.shape == batch.shape
        assert changed.isfinite().all()


@pytest.mark.parametrize("change", [augment.PitchShift(p=1.0), augment.TimeStretch(p=1.0)])
def test_gradients_of_silence_are_finite(change):
    batch = torch.zeros(2, 4000)
    batch[1, 3000:] = sine(440.0, 1000)
    batch.requires_grad_()
    change(batch).square().sum().backward()
    assert batch.grad.isfinite().all()
    assert batch.grad[1].any()


def test_silence_stays_silent():
    for change in (augment.PitchShift(p=1.0), augment.TimeStretch(p=1.0)):
        assert not change(torch.zeros(2, 4000)).any()
