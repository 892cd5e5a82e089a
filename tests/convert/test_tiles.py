"""Long files go through in tiles, with the numbers of the whole and in bounded memory."""

import json
import os
import subprocess
import sys
from itertools import product

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from specctl import SpectrogramConfig, convert_audio, open_store
from specctl.convert import Options
from specctl.convert import tiles as tiling
from tests.convert.audio_files import RATE, noise, write
from tests.convert.bad_audio import wav
from tests.convert.commands import assert_same

HERE = Options(workers=0)
SHORT = 2.0
"""Minutes."""
LONG = 30.0
MOST_MORE_MEMORY = 40
"""MB; the long file alone is 58 MB as float32, its spectrogram 115 MB."""

reading_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def convert(path, store, **job):
    convert_audio(path, store, options=HERE, **job)
    return store


@pytest.fixture
def smallest_tiles(monkeypatch):
    """A function that makes tiles, and the decoder's blocks, as small as they can be."""

    def make():
        monkeypatch.setattr(tiling, "_TILE_SAMPLES", 1)
        monkeypatch.setattr("specctl.audio.decode.BLOCK_SIZE", 1)
        monkeypatch.setattr("specctl.audio.decode.MIN_BLOCK_LENGTH", 1000)

    return make


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Two channels of several tiles; the loudest and the softest place have one of their own."""
    samples = noise(33 * RATE + 1, 2, seed=4)
    samples[26 * RATE] = 0.9
    samples[10 * RATE : 13 * RATE] *= 1e-4
    return write(tmp_path_factory.mktemp("tiles") / "a.wav", samples, subtype="FLOAT")


JOBS = [
    {},
    {"top_db": 30.0},
    {"feature": "mfcc"},
    {"feature": "complex"},
    {"feature": "magnitude", "pad_mode": "edge", "win_length": 300},
    {"feature": "magnitude", "center": False},
    {"hop_length": 700},
    {"channels": "each", "ref": "max"},
]
# what comes before and after every kernel
MORE_JOBS = [
    {"ref": "max"},
    {"feature": "power", "pad_mode": "reflect"},
    {"sample_rate": 11025},
    {"segment": 15.0, "overlap": 1.0},
    {"dtype": "uint8", "ref": "max", "top_db": 60.0},
]


@pytest.mark.parametrize(
    ("kernel", "job"),
    [*product(["fft", "conv"], JOBS), *product(["fft"], MORE_JOBS)],
    ids=lambda value: (
        value
        if isinstance(value, str)
        else "-".join(f"{name}={each}" for name, each in value.items()) or "defaults"
    ),
)
def test_tiles_give_the_numbers_of_the_whole(tmp_path, recording, smallest_tiles, job, kernel):
    job = {"n_fft": 1024, "hop_length": 200, **job}
    if "feature" not in job:
        job["n_mels"] = 20
    options = Options(workers=0, kernel=kernel)
    convert_audio(recording, tmp_path / "whole.h5", options=options, **job)
    smallest_tiles()
    convert_audio(recording, tmp_path / "tiled.h5", options=options, **job)
    assert_same(tmp_path / "tiled.h5", tmp_path / "whole.h5")


@pytest.mark.parametrize("hop_length", [10, 40, 100])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "edge", None])
def test_tiles_end_well_wherever_a_waveform_ends(monkeypatch, hop_length, pad_mode):
    monkeypatch.setattr(tiling, "_TILE_SAMPLES", 1)
    monkeypatch.setattr(tiling, "cpu_block_frames", lambda _: 4)
    padding = {"center": False} if pad_mode is None else {"pad_mode": pad_mode}
    stft = {"sample_rate": RATE, "feature": "magnitude", "n_fft": 64, "hop_length": hop_length}
    config = SpectrogramConfig.resolve(**stft, **padding)

    def frames(padded):
        return sliding_window_view(padded, 64)[::hop_length]

    for n_samples in range(64, 64 + 9 * hop_length):
        samples = noise(n_samples)[:, 0]
        whole = np.pad(samples, config.padding, pad_mode or "constant")
        tiles = [tile for tile, _ in tiling.tiles(lambda _, given=samples: [given], config)]
        np.testing.assert_array_equal(np.concatenate([*map(frames, tiles)]), frames(whole))


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(
    n_fft=st.sampled_from([64, 100, 257]),
    hop_length=st.integers(1, 150),
    n_samples=st.integers(20_000, 60_000),
    pad_mode=st.sampled_from(["constant", "reflect", "edge"]),
    center=st.booleans(),
)
def test_tiles_of_any_size_join_without_a_seam(
    tmp_path_factory, n_fft, hop_length, n_samples, pad_mode, center
):
    folder = tmp_path_factory.mktemp("seam")
    path = write(folder / "a.wav", noise(n_samples, seed=hop_length), subtype="FLOAT")
    job = {
        "feature": "magnitude",
        "n_fft": n_fft,
        "hop_length": hop_length,
        "pad_mode": pad_mode,
        "center": center,
        "compression": "none",
    }
    convert(path, folder / "whole.h5", **job)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiling, "_TILE_SAMPLES", 1)
        convert(path, folder / "tiled.h5", **job)
    assert_same(folder / "tiled.h5", folder / "whole.h5")


@pytest.mark.parametrize("power", [2.0, 3.0], ids=["compiled", "torch"])
def test_cepstra_of_a_short_last_tile_are_those_of_the_whole(tmp_path, smallest_tiles, power):
    stft = {"n_fft": 64, "hop_length": 100, "n_mels": 9, "power": power}
    # 1024 frames of a tile, and 5 more
    path = write(tmp_path / "a.wav", noise(1028 * 100), subtype="FLOAT")
    convert(path, tmp_path / "whole.h5", feature="mfcc", n_mfcc=5, **stft)
    smallest_tiles()
    convert(path, tmp_path / "tiled.h5", feature="mfcc", n_mfcc=5, **stft)
    assert_same(tmp_path / "tiled.h5", tmp_path / "whole.h5")


@pytest.fixture(scope="module")
def ten_minutes(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "a.wav"
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for minute in range(10):
            file.write(noise(60 * RATE, seed=minute) * (0.2 + 0.06 * minute))
    return path


def test_ten_minutes_are_those_of_librosa(ten_minutes, tmp_path):
    job = {"n_fft": 1024, "n_mels": 40, "top_db": 50.0, "ref": "max", "pad_mode": "reflect"}
    convert(ten_minutes, tmp_path / "o.h5", **job)
    samples, _ = librosa.load(ten_minutes, sr=None)
    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=1024, hop_length=256, n_mels=40, pad_mode="reflect"
    )
    wanted = librosa.power_to_db(power, ref=np.max, top_db=50)
    with open_store(tmp_path / "o.h5") as store:
        values = store["a.wav"]
        # the contract: 0.001 dB down to 60 dB below the peak
        np.testing.assert_allclose(values, wanted, atol=1e-3)
        middle = store.read("a.wav", 30_000, 30_010)
        assert middle.tobytes() == np.ascontiguousarray(values[:, 30_000:30_010]).tobytes()


def peak_memory(path, store, **settings):
    """MB that a process has at the most while it converts a file."""
    program = """\
import json, sys
import specctl
from specctl.convert import Options
settings = json.loads(sys.argv[3])
specctl.convert_audio(sys.argv[1], sys.argv[2], options=Options(workers=0), **settings)
# what getrusage says begins with the memory of the process that started this one
with open("/proc/self/status") as file:
    (peak,) = [line.split()[1] for line in file if line.startswith("VmHWM")]
print(int(peak) // 1024)
"""
    command = [sys.executable, "-c", program, str(path), str(store), json.dumps(settings)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return int(done.stdout)


@reading_proc
def test_ten_hours_take_the_memory_of_ten_seconds(tmp_path):
    used = {}
    for seconds in (10, 36_000):
        path = tmp_path / f"{seconds}.wav"
        # a hole in the file: silence that takes no room on the disk
        path.write_bytes(wav(0, rate=8000, claimed=2 * 8000 * seconds, riff=16_000 * seconds + 36))
        os.truncate(path, 44 + 16_000 * seconds)
        used[seconds] = peak_memory(path, tmp_path / f"{seconds}.h5")
    with open_store(tmp_path / "36000.h5") as store:
        assert store.n_frames == 1 + 36_000 * 8000 // 512
    assert used[36_000] < 1.1 * used[10]


@reading_proc
def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path):
    second = (noise(8000)[:, 0] * 2**15).astype(np.int16)
    used = {}
    for minutes in (SHORT, LONG):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 8000, 1) as file:
            for _ in range(round(minutes * 60)):
                file.write(second)
        used[minutes] = peak_memory(path, tmp_path / f"{minutes}.h5", n_fft=512, top_db=80)
    assert used[LONG] - used[SHORT] < MOST_MORE_MEMORY
