"""Files longer than a tile and than a block of the decoder."""

import numpy as np
import pytest
import soundfile
import torch

import specctl
from specctl.convert import Options, tiles
from specctl.transforms import transform_for

SAMPLE_RATE = 8000
N_SAMPLES = 2**20 + 54_321
"""More than one block of the decoder."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Noise whose level changes, so that its peak lies far from its start."""
    folder = tmp_path_factory.mktemp("long")
    noise = np.random.default_rng(3).standard_normal(N_SAMPLES)
    level = 0.001 + 0.2 * np.linspace(0, 1, N_SAMPLES) ** 4
    soundfile.write(folder / "a.wav", noise * level, SAMPLE_RATE, "PCM_16")
    return folder / "a.wav"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"top_db": 40.0},
        {"ref": "max", "top_db": 60.0},
        {"pad_mode": "reflect"},
        {"center": False, "hop_length": 700},
        {"feature": "complex", "win_length": 301, "hop_length": 100},
    ],
    ids=["defaults", "top-db", "ref-max", "reflect", "gaps", "complex"],
)
def test_a_file_in_tiles_is_bit_for_bit_the_file_in_one_piece(
    recording, tmp_path, monkeypatch, settings
):
    monkeypatch.setattr(tiles, "_TILE_SAMPLES", 2**18)
    settings = {"n_fft": 512, **settings}
    out = tmp_path / "out.h5"
    specctl.convert_audio(recording, out, options=Options(workers=0), **settings)
    waveform, _ = soundfile.read(recording, dtype="float32")
    with specctl.open_store(out) as store:
        config = specctl.SpectrogramConfig.resolve(sample_rate=SAMPLE_RATE, **settings)
        whole = transform_for(config)(torch.from_numpy(waveform)).numpy()
        assert tiles.tile_frames(config) < whole.shape[1]
        np.testing.assert_array_equal(store["a.wav"], whole)


def test_a_long_file_resampled_is_that_of_the_whole(recording, tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "_TILE_SAMPLES", 2**18)
    options = Options(workers=0)
    specctl.convert_audio(recording, tmp_path / "tiled.h5", options=options, sample_rate=11025)
    monkeypatch.undo()
    specctl.convert_audio(recording, tmp_path / "whole.h5", options=options, sample_rate=11025)
    with (
        specctl.open_store(tmp_path / "tiled.h5") as tiled,
        specctl.open_store(tmp_path / "whole.h5") as whole,
    ):
        np.testing.assert_array_equal(tiled["a.wav"], whole["a.wav"])
