"""The whole job on real recordings, held against librosa and against the files themselves."""

import json
import os
from collections import Counter

import librosa
import numpy as np
import pytest
from torch.utils.data import DataLoader

import specctl
from specctl.store.verify import verify_store
from tests.real.conftest import convert

pytestmark = pytest.mark.real

N_SAMPLED = 40
# what float32 can promise: rounding grows towards quiet bands, relative to the loudest
MAX_DB_ERROR = {40: 10 * np.log10(1 + 1e-4), 60: 0.001, 80: 0.01}
MAX_MAGNITUDE_ERROR = 1e-5
CHAINED = 0.05
"""Share of files at most that hold several streams, of which librosa hears the first only."""


def spread(keys):
    keys = sorted(keys)
    return keys[:: max(1, len(keys) // N_SAMPLED)]


def test_every_recording_is_converted_once(collection, store):
    with specctl.open_store(store) as opened:
        expected = {path.relative_to(collection.folder).as_posix() for path in collection.files()}
        assert len(expected) >= collection.fewest
        assert set(opened) == expected
        assert opened.errors == []


def test_folders_reached_again_through_symlinks_count_once(collection, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    counts = Counter(path.parent for path in collection.files())
    first = min(counts, key=counts.__getitem__)
    (folder / "a").symlink_to(first)
    (folder / "b").symlink_to(first)
    (folder / "loop").symlink_to(folder)
    done = convert(folder, tmp_path / "out.h5", "--json", "-q")
    assert done.returncode == 0
    summary = json.loads(done.stdout)
    assert (summary["n_converted"], summary["n_skipped"]) == (counts[first], 2)
    assert summary["n_found"] == counts[first] + 2


def test_log_mel_is_that_of_librosa(collection, store):
    n_compared = n_sampled = 0
    with specctl.open_store(store) as opened:
        rate = opened.config["sample_rate"]
        for key in spread(opened):
            n_sampled += 1
            audio, _ = librosa.load(collection.folder / key, sr=rate)
            if len(audio) != opened.record(key).n_samples:
                continue
            n_compared += 1
            power = librosa.feature.melspectrogram(y=audio, sr=rate, hop_length=512)
            expected = librosa.power_to_db(power, top_db=None)
            error = np.abs(opened[key] - expected)
            for drop, largest in MAX_DB_ERROR.items():
                assert error[expected > expected.max() - drop].max(initial=0) <= largest, key
    assert n_compared >= (1 - CHAINED) * n_sampled


def test_magnitudes_are_those_of_librosa(collection, tmp_path):
    listed = tmp_path / "listed"
    sampled = spread(collection.files())
    listed.write_bytes(b"\0".join(os.fsencode(path) for path in sampled))
    settings = ("--feature", "magnitude", "--n-fft", "1024", "--sample-rate", "22050")
    done = convert("--files-from", listed, tmp_path / "out.h5", *settings)
    assert done.returncode == 0, done.stderr
    common = os.path.commonpath([path.parent for path in sampled])
    n_compared = 0
    with specctl.open_store(tmp_path / "out.h5") as opened:
        assert len(opened) == len(sampled)
        for path in sampled:
            key = path.relative_to(common).as_posix()
            audio, _ = librosa.load(path, sr=22050)
            if len(audio) != opened.record(key).n_samples:
                continue
            n_compared += 1
            expected = np.abs(librosa.stft(audio, n_fft=1024, hop_length=256))
            error = np.abs(opened[key] - expected).max()
            assert error <= MAX_MAGNITUDE_ERROR * expected.max(), key
    assert n_compared >= (1 - CHAINED) * len(sampled)


def test_labels_are_the_first_folders(collection, store):
    with specctl.open_store(store) as opened:
        expected = {path.name for path in collection.folder.iterdir() if path.is_dir()}
        assert set(opened.classes) <= expected
        assert all(record.label == record.key.split("/")[0] for record in opened.records)


def test_the_store_is_sound(store):
    assert verify_store(store) == []


def test_loader_workers_read_what_the_store_holds(store):
    with specctl.open_store(store) as opened:
        keys = spread(opened)
        dataset = opened.dataset(keys=keys, frames=32, crop="first")
        loader = DataLoader(dataset, batch_size=8, num_workers=2)
        read = [key for batch in loader for key in batch.key]
        assert read == keys
        batch = next(iter(DataLoader(dataset, batch_size=4)))
        for spec, key in zip(batch.spec.numpy(), batch.key, strict=True):
            n_frames = min(32, opened.record(key).n_frames)
            np.testing.assert_array_equal(spec[:, :n_frames], opened.read(key, 0, n_frames))


def test_a_second_run_touches_nothing(collection, store):
    before = store.stat()
    done = convert(collection.folder, store, "--labels", "folder")
    after = store.stat()
    assert done.returncode == 0
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert os.listdir(store.parent) == [store.name]
