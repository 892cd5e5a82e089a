import numpy as np
import pytest
import soundfile
import torch

from specctl.audio.resample import Resampler
from specctl.errors import AudioError
from specctl.training import Clips, find_labelled
from specctl.training.batches import TrainBatches, evaluation_crops
from specctl.training.clips import most_common_rate
from tests.training.audio import SAMPLE_RATE


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Stereo and mono, two rates, of different lengths."""
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(0)
    for number, (rate, channels, n) in enumerate(
        [(8000, 1, 1000), (8000, 2, 800), (16000, 1, 2001), (8000, 1, 300)]
    ):
        name = folder / "ab"[number % 2] / f"{number}.wav"
        name.parent.mkdir(exist_ok=True)
        samples = 0.5 * random.uniform(-1, 1, (n, channels))
        soundfile.write(name, samples, rate, "FLOAT")
    return find_labelled(folder)


def expected(file):
    samples, rate = soundfile.read(file.source.path, dtype="float32", always_2d=True)
    mono = samples.mean(1, dtype=np.float32)
    return Resampler(rate, SAMPLE_RATE).push(mono, last=True)


@pytest.mark.parametrize("budget", [2**20, 5000, 0], ids=["all", "some", "none"])
def test_clips_are_the_same_held_or_decoded_again(files, budget):
    clips = Clips(files, SAMPLE_RATE, budget=budget)
    assert clips.n_bytes <= budget
    for i, file in enumerate(files):
        wave = expected(file)
        assert clips.n_samples[i] == len(wave)
        assert np.array_equal(clips.read(i, 0, 10**6).numpy(), wave)
        assert np.array_equal(clips.read(i, 100, 50).numpy(), wave[100:150])


def test_the_dataset_hash_tells_labels_and_bytes_apart(files, tmp_path):
    hashes = [Clips(files, SAMPLE_RATE).dataset_hash for _ in range(2)]
    assert hashes[0] == hashes[1]
    assert Clips(files[1:], SAMPLE_RATE).dataset_hash != hashes[0]


def test_a_file_that_is_gone_when_it_is_needed_again(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "x.wav", np.ones(100) / 2, SAMPLE_RATE)
    clips = Clips(find_labelled(tmp_path), SAMPLE_RATE, budget=0)
    (tmp_path / "a" / "x.wav").unlink()
    with pytest.raises(AudioError, match=r"cannot decode a/x.wav: no such file"):
        clips.read(0, 0, 10)


def test_the_most_common_rate_is_taken(files):
    assert most_common_rate(files) == 8000
    assert most_common_rate(files[2:]) in (8000, 16000)


@pytest.fixture(scope="module")
def batches(files):
    clips = Clips(files, SAMPLE_RATE)
    return clips, TrainBatches(
        clips, range(4), [0, 1, 0, 1], crop_length=500, batch_size=2, seed=3
    )


def test_an_epoch_has_every_clip_once_in_an_order_of_its_own(batches):
    _, train = batches
    assert train.n_per_epoch == 2
    seen = set()
    for epoch in range(6):
        labels = [train.read(2 * epoch + i).labels for i in range(2)]
        assert sorted(torch.cat(labels).tolist()) == [0, 0, 1, 1]
        seen.add(tuple(torch.cat(labels).tolist()))
    assert len(seen) > 1


def test_crops_are_stretches_of_their_clip_and_short_clips_padded(files, batches):
    clips, train = batches
    waves = [clips.read(i, 0, 10**6) for i in range(4)]
    starts = set()
    for step in range(20):
        batch = train.read(step)
        assert batch.waveform.shape == (2, 500)
        for crop, length in zip(batch.waveform, batch.lengths.tolist(), strict=True):
            assert not crop[length:].any()
            found = [
                (i, start)
                for i, wave in enumerate(waves)
                for start in range(max(1, len(wave) - length + 1))
                if len(wave) >= length and torch.equal(wave[start : start + length], crop[:length])
            ]
            assert len(found) == 1
            assert length == min(500, len(waves[found[0][0]]))
            starts.add(found[0])
    assert len(starts) > 10


def test_parts_of_processes_make_the_batch(batches):
    _, train = batches
    whole = train.read(1)
    halves = [train.read(1, rank, 2) for rank in range(2)]
    assert torch.equal(whole.waveform, torch.cat([half.waveform for half in halves]))
    drawn = torch.cat([half.draws.uniform() for half in halves])
    assert torch.equal(whole.draws.uniform(), drawn)


def test_evaluation_covers_a_clip_evenly(batches):
    clips, _ = batches
    wave = clips.read(0, 0, 10**6)
    crops, lengths = evaluation_crops(clips, 0, 400)
    assert crops.shape == (3, 400)
    assert lengths.tolist() == [400, 400, 400]
    for crop, start in zip(crops, (0, len(wave) // 2 - 200, len(wave) - 400), strict=True):
        assert torch.equal(crop, wave[start : start + 400])
    assert evaluation_crops(clips, 0, 10)[0].shape == (8, 10)
    assert evaluation_crops(clips, 0, 9999)[1].tolist() == [len(wave)]
