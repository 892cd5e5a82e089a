"""A full disk: one clear line, nothing half-written, and the same command goes on later."""

import resource
import shutil
import subprocess

import pytest

from specctl import convert_audio
from specctl.convert import Options
from tests.convert.audio_files import corpus
from tests.convert.commands import assert_nothing_beside, assert_same, invoke, parts_of, run

FLAGS = ("--n-fft", 1024, "--hop-length", 128, "--compression", "none", "--workers", 2)
SETTINGS = {"n_fft": 1024, "hop_length": 128, "compression": "none"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("full") / "in", 8)


@pytest.fixture(scope="module")
def wanted(folder):
    store = folder.parent / "wanted.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
        convert_audio(folder, store, options=Options(workers=0), **SETTINGS)
    return store


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes, or resizes, a file system of so many kB."""
    place = tmp_path / "disk"
    place.mkdir()

    def size(kilobytes):
        is_there = place.is_mount()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
        if is_there:
            command = ["mount", "-o", f"remount,size={kilobytes}k", str(place)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
        return place

    yield size
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


def needed(wanted):
    """kB of parts and store together."""
    return 2 * wanted.stat().st_size // 1024


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("share", [0.005, 0.35, 0.95], ids=["plan", "parts", "store"])
def test_a_full_disk_is_an_error_that_can_be_mended(folder, wanted, small_disk, share):
    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    place = small_disk(max(8, int(share * needed(wanted))))
    store = place / "o.h5"
    done = run(folder, store, *FLAGS, small_parts=True)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"specctl: cannot write {place}/o.h5")
    assert line.endswith(": No space left on device")
    assert not store.exists()
    before = parts_of(store)
    small_disk(64 * needed(wanted))
    summary = convert_audio(folder, store, options=Options(workers=0), **SETTINGS)
    assert summary.n_resumed == len(before)
    assert_same(store, wanted)
    assert_nothing_beside(store)


@pytest.mark.usefixtures("small_parts")
def test_a_limit_on_the_size_of_files_is_an_error_that_can_be_mended(folder, wanted, tmp_path):
    store = tmp_path / "o.h5"

    def limit():
        # parts fit, the store does not
        most = wanted.stat().st_size // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    done = run(folder, store, *FLAGS, small_parts=True, preexec_fn=limit)
    assert done.returncode == 1
    assert done.stderr == f"specctl: cannot write {store}.parts/merged.h5: File too large\n"
    assert len(parts_of(store)) == 8
    assert convert_audio(folder, store, options=Options(workers=0), **SETTINGS).n_resumed == 8
    assert_same(store, wanted)
    assert_nothing_beside(store)


def test_a_folder_that_cannot_be_written_is_one_line(folder):
    done = invoke(folder, "/proc/o.h5", *FLAGS)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("specctl: cannot write /proc/o.h5.parts: ")
    assert len(done.stderr.splitlines()) == 1
