"""The size and the time that ``--dry-run`` tells, against those of the conversion."""

from types import SimpleNamespace

import numpy as np
import pytest

from specctl import convert_audio
from specctl.convert import Options, clock, estimate_conversion, part_worker
from tests.convert.audio_files import RATE, noise, write, write_noise

HERE = Options(workers=0)
SETTINGS = {"n_fft": 256, "hop_length": 64, "n_mels": 40}
CLOSE = 1.25
"""Eight files say how well noise is compressed; HDF5's own bytes are in no estimate."""


@pytest.mark.parametrize(
    ("n_files", "seconds", "settings"),
    [
        (300, 0.05, {}),
        (300, 0.05, {"segment": 0.02}),
        (40, 3.0, {}),
        (40, 3.0, {"compression": "none"}),
        (40, 3.0, {"compression": "none", "channels": "each", "n_fft": 512}),
        (40, 3.0, {"compression": "none", "segment": 0.5, "overlap": 0.25, "dtype": "uint8"}),
    ],
    ids=["short", "short segments", "long", "plain", "plain channels", "plain segments"],
)
def test_the_size_is_that_of_the_store(tmp_path, n_files, seconds, settings):
    for number in range(n_files):
        write_noise(tmp_path / "in" / f"{number:03d}.wav", seconds, seed=number)
    settings = {**SETTINGS, **settings}
    estimate = estimate_conversion(tmp_path / "in", options=HERE, **settings)
    summary = convert_audio(tmp_path / "in", tmp_path / "o.h5", options=HERE, **settings)
    assert summary.n_bytes / CLOSE < estimate.n_bytes < summary.n_bytes * CLOSE


def test_many_short_files_are_told_from_more_than_eight(tmp_path):
    """Every fiftieth is noise, and so would be each of eight."""
    for number in range(400):
        samples = noise(RATE // 20, seed=number) if number % 50 == 0 else np.zeros((800, 1), "f4")
        write(tmp_path / "in" / f"{number:03d}.wav", samples)
    estimate = estimate_conversion(tmp_path / "in", options=HERE, **SETTINGS)
    summary = convert_audio(tmp_path / "in", tmp_path / "o.h5", options=HERE, **SETTINGS)
    assert summary.n_bytes / CLOSE < estimate.n_bytes < summary.n_bytes * CLOSE


def test_an_index_is_as_wide_as_its_longest_path_and_label(tmp_path):
    """And neither is one of the files that are tried."""
    for number in range(300):
        write_noise(tmp_path / "in" / f"{number:03d}.wav", 0.05)
    deep = tmp_path / "in" / "/".join(["deeper" * 30] * 4)
    write_noise(deep / "a.wav", 0.05)
    table = tmp_path / "labels.csv"
    table.write_text(f"path,label\n001.wav,{'long' * 200}\n")
    options = Options(workers=0, labels=table)
    estimate = estimate_conversion(tmp_path / "in", options=options, **SETTINGS)
    summary = convert_audio(tmp_path / "in", tmp_path / "o.h5", options=options, **SETTINGS)
    assert summary.n_bytes / CLOSE < estimate.n_bytes < summary.n_bytes * CLOSE


def test_opening_a_file_counts_as_time(tmp_path, monkeypatch):
    """Here it takes a second, and nothing else takes any."""
    now = 0.0

    def opened(*args, **kwargs):
        nonlocal now
        now += 1.0
        return open_audio(*args, **kwargs)

    open_audio = part_worker.open_audio
    monkeypatch.setattr(part_worker, "open_audio", opened)
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now))
    for number in range(30):
        write_noise(tmp_path / "in" / f"{number:02d}.wav", 3.0, seed=number)
    estimate = estimate_conversion(tmp_path / "in", options=HERE, **SETTINGS)
    assert estimate.seconds == pytest.approx(30)
    summary = convert_audio(tmp_path / "in", tmp_path / "o.h5", options=HERE, **SETTINGS)
    assert summary.seconds["decode"] == 30
