"""What a file claims or unpacks to is not what converting it takes, however it is done."""

import resource
import sys
import threading
import time

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
CHANNELS, SECONDS = 8, 300
UNPACKED = CHANNELS * SECONDS * 48_000 * 4
MOST_MORE = 96 << 20
"""Bytes that a file which unpacks to 460 MB may take beyond one of some seconds: tiles and blocks
of some megabytes, several at a time."""


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
        time.sleep(0.01)
    return max(peaks.values())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_unpacks_hugely_takes_no_more_than_a_small_one(tmp_path, mode):
    peaks = []
    for name, content in {
        "small": silent_flac(10, CHANNELS),
        "huge": silent_flac(SECONDS, CHANNELS),
    }.items():
        path = tmp_path / f"{name}.flac"
        path.write_bytes(content)
        assert len(content) < 40_000
        flags = (*FLAGS, *MODES[mode])
        with started(path, tmp_path / f"{name}.h5", *flags, small_parts=False) as process:
            peaks.append(peak_bytes(process))
        assert process.returncode == 0
    assert UNPACKED > 4 * MOST_MORE
    assert peaks[1] - peaks[0] < MOST_MORE
    with open_store(tmp_path / "huge.h5") as store:
        n_samples = SECONDS * 48_000 // BLOCK * BLOCK
        assert store["huge.flac"].shape == (20, 1 + n_samples // 512)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mode", ["compiled", "in this process"])
@pytest.mark.parametrize(
    "settings", [(), ("--overlap", 500, "--top-db", 60)], ids=["once", "more"]
)
def test_a_long_segment_takes_no_more_than_a_short_file(tmp_path, mode, settings):
    seconds, segment = 1000, 900
    peaks = []
    for name, flags, n_seconds in [
        ("small", (), 10),
        ("huge", ("--segment", segment, *settings), seconds),
    ]:
        path = tmp_path / f"{name}.flac"
        path.write_bytes(silent_flac(n_seconds, 1))
        command = (path, tmp_path / f"{name}.h5", *FLAGS, *flags, *MODES[mode])
        with started(*command, small_parts=False) as process:
            peaks.append(peak_bytes(process))
        assert process.returncode == 0
    assert segment * 48_000 * 4 > 1.5 * MOST_MORE
    assert peaks[1] - peaks[0] < MOST_MORE
    with open_store(tmp_path / "huge.h5") as store:
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
