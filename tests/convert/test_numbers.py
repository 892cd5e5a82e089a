"""The values of a store are those of librosa, whoever makes it and however it is divided."""

import os
import random
import shutil
from contextlib import contextmanager

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specctl import convert_audio, open_store
from specctl.convert import ConvertConfig, Options
from specctl.transforms import MelSpectrogram, transform_for
from tests.convert.audio_files import RATE, corpus, noise, write, write_noise
from tests.convert.commands import assert_same

HERE = Options(workers=0)
MAGNITUDE_TOLERANCE = 1e-5
"""Of the clip's peak: what two FFTs in float32 differ by."""


def convert(sources, store, options=HERE, **given_settings):
    convert_audio(sources, store, options=options, **given_settings)
    with open_store(store) as opened:
        return {key: opened[key] for key in opened}


def magnitude(waveform, n_fft=512, hop_length=128):
    return np.abs(librosa.stft(waveform, n_fft=n_fft, hop_length=hop_length))


def assert_near(values, wanted, tolerance=MAGNITUDE_TOLERANCE):
    assert values.shape == wanted.shape
    assert np.abs(values - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("ending", "rate"),
    [
        *(("wav", rate) for rate in (8_000, 11_025, 16_000, 22_050, 44_100, 48_000)),
        *(("flac", 16_000), ("flac", 44_100), ("ogg", 11_025), ("ogg", 48_000)),
        *(("mp3", 8_000), ("mp3", 22_050), ("aiff", 16_000), ("aiff", 44_100)),
    ],
)
def test_values_are_those_of_librosa_load_and_stft(tmp_path, rate, ending):
    path = write(tmp_path / f"a.{ending}", noise(rate + 77, 2, seed=rate % 100), rate)
    values = convert(path, tmp_path / "o.h5", feature="magnitude", n_fft=512, sample_rate=RATE)
    waveform, _ = librosa.load(path, sr=RATE)
    assert_near(values[path.name], magnitude(waveform))


def test_the_settings_of_a_store_make_its_transform(tmp_path):
    path = write_noise(tmp_path / "a.wav", 1.0)
    convert_audio(path, tmp_path / "o.h5", options=HERE, n_fft=512, n_mels=20, segment=0.5)
    samples, _ = soundfile.read(path, dtype="float32")
    with open_store(tmp_path / "o.h5") as store:
        spec = MelSpectrogram.from_config(store.config)(torch.from_numpy(samples[: RATE // 2]))
        np.testing.assert_array_equal(store["a.wav#s00000"], spec)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 8])
def test_channels_are_mixed_taken_apart_or_the_first_is_taken(tmp_path, n_channels):
    path = write(tmp_path / "a.wav", noise(3000, n_channels, seed=5), subtype="FLOAT")
    samples, _ = librosa.load(path, sr=None, mono=False)
    samples = samples.reshape(n_channels, -1)
    stft = {"feature": "magnitude", "n_fft": 512}
    mixed = convert(path, tmp_path / "mix.h5", channels="mix", **stft)
    assert list(mixed) == ["a.wav"]
    assert_near(mixed["a.wav"], magnitude(librosa.to_mono(samples)))
    first = convert(path, tmp_path / "first.h5", channels="first", **stft)
    assert_near(first["a.wav"], magnitude(samples[0]))
    each = convert(path, tmp_path / "each.h5", channels="each", **stft)
    assert list(each) == [f"a.wav#ch{channel}" for channel in range(n_channels)]
    for channel, values in enumerate(each.values()):
        assert_near(values, magnitude(samples[channel]))
    with open_store(tmp_path / "each.h5") as store:
        assert [record.channel for record in store.records] == list(range(n_channels))
        assert {record.source for record in store.records} == {"a.wav"}
    with open_store(tmp_path / "mix.h5") as store:
        assert store.record("a.wav").channel == -1


@pytest.mark.parametrize(
    ("settings_", "reference"),
    [
        ({}, lambda y: librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=RATE))),
        (
            {"ref": "max", "top_db": 60.0},
            lambda y: librosa.power_to_db(
                librosa.feature.melspectrogram(y=y, sr=RATE), ref=np.max, top_db=60
            ),
        ),
        ({"feature": "mfcc"}, lambda y: librosa.feature.mfcc(y=y, sr=RATE)),
    ],
    ids=["log-mel", "ref-max", "mfcc"],
)
def test_logarithmic_features_are_those_of_librosa(tmp_path, settings_, reference):
    # librosa.power_to_db clips at 80 dB if nothing is said; noise never gets so low
    path = write_noise(tmp_path / "a.wav", 1.3, seed=8)
    values = convert(path, tmp_path / "o.h5", **settings_)["a.wav"]
    waveform, _ = librosa.load(path, sr=None)
    np.testing.assert_allclose(values, reference(waveform), atol=2e-3)


def test_complex_values_are_those_of_librosa(tmp_path):
    path = write_noise(tmp_path / "a.wav", seed=3)
    values = convert(path, tmp_path / "o.h5", feature="complex", n_fft=512)["a.wav"]
    waveform, _ = librosa.load(path, sr=None)
    assert_near(values, librosa.stft(waveform, n_fft=512))


def test_the_store_says_what_went_in(tmp_path):
    path = write(tmp_path / "in" / "a.flac", noise(44_100, 2), 44_100)
    convert_audio(path.parent, tmp_path / "o.h5", options=HERE, sample_rate=RATE, n_fft=512)
    with open_store(tmp_path / "o.h5") as store:
        record = store.record("a.flac")
    assert (record.sample_rate, record.n_samples, record.offset) == (44_100, 16_000, 0)
    assert record.size == path.stat().st_size
    assert record.mtime_ns == path.stat().st_mtime_ns
    assert len(record.sha256) == 64


def test_a_date_beyond_all_clocks_is_no_failure(tmp_path):
    path = write_noise(tmp_path / "in" / "a.wav")
    os.utime(path, ns=(10**19, 10**19))
    if path.stat().st_mtime_ns < 2**63:
        pytest.skip("this file system has no such dates")
    convert_audio(path.parent, tmp_path / "o.h5", options=HERE, n_fft=512)
    with open_store(tmp_path / "o.h5") as store:
        assert store.record("a.wav").mtime_ns == 2**63 - 1
    update = Options(workers=0, update=True)
    assert (
        convert_audio(path.parent, tmp_path / "o.h5", options=update, n_fft=512).n_unchanged == 1
    )


def test_auto_takes_the_most_common_rate_and_counts_the_others(tmp_path):
    for number, rate in enumerate([8_000, 22_050, 44_100, 22_050, 48_000]):
        write_noise(tmp_path / "in" / f"{number}.wav", rate=rate)
    (tmp_path / "in" / "bad.wav").write_bytes(b"")
    summary = convert_audio(tmp_path / "in", tmp_path / "o.h5", options=HERE, n_fft=512)
    assert (summary.sample_rate, summary.n_resampled) == (22_050, 3)
    assert summary.rates == {"8000": 1, "22050": 2, "44100": 1, "48000": 1}
    with open_store(tmp_path / "o.h5") as store:
        assert store.config["sample_rate"] == 22_050
        assert store.config["fmax"] == 11_025


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("many") / "in", 14, seconds=2)


@pytest.mark.parametrize("feature", ["mel", "complex"])
def test_the_number_of_workers_and_the_order_of_files_change_nothing(
    many, tmp_path, feature, monkeypatch
):
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
    stft = {"feature": feature, "n_fft": 1024}
    convert(many, tmp_path / "0.h5", **stft)
    for workers in (1, 2):
        convert(many, tmp_path / f"{workers}.h5", Options(workers=workers), **stft)
        assert_same(tmp_path / f"{workers}.h5", tmp_path / "0.h5")
    paths = [path for path in many.rglob("*.*") if path.is_file()]
    random.Random(1).shuffle(paths)
    shuffled = tmp_path / "again"
    for path in paths:
        copy = shuffled / path.relative_to(many)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    convert(shuffled, tmp_path / "shuffled.h5", **stft)
    assert_same(tmp_path / "shuffled.h5", tmp_path / "0.h5")
    convert(paths, tmp_path / "listed.h5", **stft)
    assert_same(tmp_path / "listed.h5", tmp_path / "0.h5")


def test_the_division_into_parts_changes_no_value(many, tmp_path, monkeypatch):
    whole = convert(many, tmp_path / "whole.h5", n_fft=512)
    monkeypatch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
    parted = convert(many, tmp_path / "parted.h5", n_fft=512)
    for key, values in whole.items():
        assert parted[key].tobytes() == values.tobytes()


def test_what_the_process_has_set_for_torch_changes_nothing(many, tmp_path):
    before = torch.get_num_threads(), torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            convert(many, tmp_path / "odd.h5", n_fft=512)
    finally:
        torch.set_default_dtype(before[1])
    convert(many, tmp_path / "plain.h5", n_fft=512)
    assert_same(tmp_path / "odd.h5", tmp_path / "plain.h5")


@contextmanager
def one_thread():
    """FFTs of a few frames differ in the last bit with the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@st.composite
def jobs(draw):
    n_fft = draw(st.sampled_from([16, 100, 256, 511]))
    win_length = draw(st.integers(1, n_fft))
    feature = draw(st.sampled_from(["complex", "magnitude", "power", "mel"]))
    job = {
        "feature": feature,
        "n_fft": n_fft,
        "win_length": win_length,
        "hop_length": draw(st.integers(1, 200)),
        "window": draw(st.sampled_from(["hann", "hamming", "blackman", "boxcar"])),
        "pad_mode": draw(st.sampled_from(["constant", "reflect", "edge"])),
        "compression": draw(st.sampled_from(["none", "gzip"])),
    }
    if feature == "mel":
        job |= {"n_mels": draw(st.integers(1, 20)), "scale": "none"}
    return job


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(jobs(), st.integers(1, 6000), st.integers(0, 1000))
def test_any_settings_and_length_give_the_transform_of_the_samples(
    tmp_path_factory, job, n_samples, seed
):
    folder = tmp_path_factory.mktemp("any")
    path = write(folder / "a.wav", noise(n_samples, seed=seed), subtype="FLOAT")
    values = convert(path, folder / "o.h5", **job)["a.wav"]
    samples, _ = soundfile.read(path, dtype="float32")
    config = ConvertConfig.resolve(sample_rate=RATE, **job)
    with one_thread():
        wanted = transform_for(config.spectrogram)(torch.from_numpy(samples)).numpy()
    assert values.shape == (config.n_bins, config.n_frames(n_samples))
    np.testing.assert_array_equal(values, wanted)
    # librosa warns of shorter clips, and its window of two samples is empty
    if config.feature == "magnitude" and n_samples >= config.n_fft and config.win_length > 2:
        stft = librosa.stft(
            samples,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            win_length=config.win_length,
            window=config.window,
            pad_mode=config.pad_mode,
        )
        assert_near(values, np.abs(stft))
    shutil.rmtree(folder)


def test_the_threads_of_the_caller_are_left_alone(tmp_path):
    path = write_noise(tmp_path / "a.wav", 20)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = convert(path, tmp_path / "one.h5", n_fft=510)
        torch.set_num_threads(2)
        two = convert(path, tmp_path / "two.h5", n_fft=510)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert one["a.wav"].tobytes() == two["a.wav"].tobytes()
