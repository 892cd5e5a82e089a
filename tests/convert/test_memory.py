"""What a file claims or unpacks to is not what converting it takes, however it is done."""

import resource
import sys
import threading
import time
from functools import cache

import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options
from tests.convert.audio_files import corpus, noise, write
from tests.convert.commands import LIMIT, group_members, started
from tests.convert.silent_flac import BLOCK, silent_flac
from tests.convert.test_packs import assert_near, packing  # noqa: F401 - a fixture

MODES = {
    "compiled": ("--workers", 1),
    "with torch": ("--workers", 1, "--power", 1.5),
    "in this process": ("--workers", 0),
}
FLAGS = ("--feature", "mel", "--n-fft", 512, "--hop-length", 512, "--n-mels", 20)
CHANNELS, SECONDS = 8, 150
UNPACKED = CHANNELS * SECONDS * 48_000 * 4
MOST_MORE = 96 << 20
"""Bytes that a file which unpacks to 230 MB may take beyond one of some seconds: tiles and blocks
of some megabytes, several at a time."""
reading_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def peak_bytes(process):
    """The most that any process of the group has had in memory, once all have ended."""
    peaks = {}
    end = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < end:
        for pid, _ in group_members(process.pid):
            try:
                with open(f"/proc/{pid}/status") as file:
                    (line,) = [line for line in file if line.startswith("VmHWM")]
            except (OSError, ValueError):
                continue
            peaks[pid] = int(line.split()[1]) * 1024
        time.sleep(0.02)
    return max(peaks.values())


def converted(folder, name, content, *flags):
    """Peak of a conversion of a file, and its store."""
    path, store = folder / f"{name}.flac", folder / f"{name}.h5"
    path.write_bytes(content)
    with started(path, store, *FLAGS, *flags, small_parts=False) as process:
        peak = peak_bytes(process)
    assert process.returncode == 0
    return peak, store


@pytest.fixture(scope="module")
def small_peak(tmp_path_factory):
    """Peak of a conversion of some seconds in a mode."""

    @cache
    def measured(mode):
        folder = tmp_path_factory.mktemp("small")
        return converted(folder, "small", silent_flac(10, CHANNELS), *MODES[mode])[0]

    return measured


@reading_proc
@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_unpacks_hugely_takes_no_more_than_a_small_one(tmp_path, small_peak, mode):
    content = silent_flac(SECONDS, CHANNELS)
    assert len(content) < 40_000
    peak, path = converted(tmp_path, "huge", content, *MODES[mode])
    assert UNPACKED > 2 * MOST_MORE
    assert peak - small_peak(mode) < MOST_MORE
    with open_store(path) as store:
        n_samples = SECONDS * 48_000 // BLOCK * BLOCK
        assert store["huge.flac"].shape == (20, 1 + n_samples // 512)


@reading_proc
@pytest.mark.parametrize(
    ("mode", "settings"),
    [("in this process", ()), ("compiled", ("--overlap", 500, "--top-db", 60))],
    ids=["once", "more"],
)
def test_a_long_segment_takes_no_more_than_a_short_file(tmp_path, small_peak, mode, settings):
    seconds, segment = 1000, 900
    flags = ("--segment", segment, *settings, *MODES[mode])
    peak, path = converted(tmp_path, "huge", silent_flac(seconds, 1), *flags)
    assert segment * 48_000 * 4 > 1.5 * MOST_MORE
    assert peak - small_peak(mode) < MOST_MORE
    with open_store(path) as store:
        assert [spec.shape for spec in map(store.__getitem__, store)] == [(20, 84376)] * 2


def test_what_is_held_for_a_pack_is_counted_as_it_comes(tmp_path, monkeypatch, packing):  # noqa: F811
    """Segments that overlap are many times their file."""
    path = write(tmp_path / "a.wav", noise(10 * 16_000), 16_000)
    settings = {"n_fft": 512, "n_mels": 20, "segment": 1.0, "overlap": 0.9}
    convert_audio(path, tmp_path / "alone.h5", options=Options(workers=0), **settings)
    computers = packing(2**30)
    for most in (2**30, 2**18):
        monkeypatch.setattr("specctl.convert.part_worker._HELD_SAMPLES", most)
        convert_audio(path, tmp_path / f"{most}.h5", options=Options(workers=0), **settings)
        assert_near(tmp_path / f"{most}.h5", tmp_path / "alone.h5")
    # padded by half a window on either side
    everything, some = (max(computer.sizes) * (16_000 + 512) for computer in computers)
    assert everything > 5 * 10 * 16_000
    assert some <= 2**18


@pytest.mark.skipif(sys.platform != "linux", reason="limits of data segments are of Linux")
def test_two_conversions_at_once_leave_the_limit_of_the_process_as_it_was(tmp_path):
    corpus(tmp_path / "in", 40)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    options = Options(workers=0)
    threads = [
        threading.Thread(
            target=convert_audio,
            args=(tmp_path / "in", tmp_path / f"{name}.h5"),
            kwargs={"options": options, "n_fft": 512},
            daemon=True,
        )
        for name in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert (tmp_path / "2.h5").exists()
