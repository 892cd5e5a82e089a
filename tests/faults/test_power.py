"""Power cuts on a file system of its own: what was acknowledged is there and whole."""

import errno
import os
import random
import signal
from pathlib import Path

import pytest

from tests.convert.commands import wait_for
from tests.faults.power import KINDS, Cut, Lab
from tests.faults.sweep import kinds_of

SCENARIOS = ("convert", "resume", "update", "overwrite", "tidy up", "repair")
N_CALLS = 2
N_CHANCES = 3


def started_lab(folder, sweep, kind):
    lab = Lab(folder, sweep, kind)
    lab.__enter__()
    if lab.refused:
        lab.__exit__()
        pytest.skip(lab.refused)
    return lab


@pytest.fixture(scope="module", params=list(KINDS))
def lab(request, sweep, tmp_path_factory):
    lab = started_lab(tmp_path_factory.mktemp(request.param), sweep, request.param)
    yield lab
    lab.__exit__()
    assert_the_disk_is_gone(lab)


def assert_the_disk_is_gone(lab):
    folder = str(lab.folder)
    wait_for(lambda: not devices_of(folder), "the device to be free")
    assert folder not in Path("/proc/mounts").read_text()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_power_cut_at_any_time_loses_nothing(lab, name):
    # sometime, and after the end
    cuts = [
        Cut(name, share=share) for share in (random.Random(f"{lab.kind} {name}").random(), 1.5)
    ]
    assert {str(cut): wrong for cut in cuts if (wrong := lab.trial(cut))} == {}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_power_cut_before_any_call_loses_nothing(lab, name):
    points = lab.sweep.scenarios[name].points
    # what the order of things on the disk hangs on
    tried = [n for n, call in enumerate(points) if call.startswith(("rename", "unlink", "fsync"))]
    cuts = [Cut(name, point=n) for n in random.Random(lab.kind).sample(tried, N_CALLS)]
    assert {points[cut.point]: wrong for cut in cuts if (wrong := lab.trial(cut))} == {}


@pytest.mark.parametrize("name", ["convert", "update"])
def test_nothing_is_acknowledged_that_a_stopped_file_system_has_lost(lab, name):
    """XFS says of the names in a folder that all is well after it has thrown them away."""
    points = lab.sweep.scenarios[name].points
    folders = [
        places[0]
        for kind, places in kinds_of(points).items()
        if kind.startswith(("fsync . ", "fsync o.h5.parts after"))
    ]
    # a plan, a job, its folder, a part, the store
    assert len(folders) == 5
    cuts = [Cut(name, point=n, lives=True) for n in folders]
    assert {points[cut.point]: wrong for cut in cuts if (wrong := lab.trial(cut))} == {}


def test_a_power_cut_with_workers_loses_nothing(lab):
    name = {"ext4": "convert", "xfs": "update"}[lab.kind]
    share = random.Random(name).uniform(0.6, 0.9)
    assert lab.trial(Cut(name, share=share, has_workers=True)) == []


def test_signs_of_life_do_not_need_the_disk(lab):
    """A page of a file that is mapped into memory would end the process by SIGBUS."""
    assert lab.live() == 0


def test_what_the_system_says_of_a_disk_is_told_apart_from_damage(lab):
    number, text = lab.read()
    assert number == errno.EIO
    assert text == "o.h5: chunk 0 of /spectrogram cannot be read: Input/output error"


def test_a_disk_that_only_says_it_has_written_is_caught(lab):
    points = lab.sweep.scenarios["convert"].points
    parts = [n for n, call in enumerate(points) if call.startswith("rename o.h5.parts/000")]
    folder_and_next = 5
    cut = Cut("convert", point=parts[-1] + folder_and_next + 1, lies=True)
    # all may have been written by chance, but not again and again
    found = (each for _ in range(N_CHANCES) for each in lab.trial(cut))
    assert any(each.endswith((".part is lost", "is not complete")) for each in found)


def test_the_disk_goes_with_its_process_though_that_is_killed(sweep, tmp_path):
    lab = started_lab(tmp_path, sweep, "ext4")
    assert devices_of(str(tmp_path))
    os.killpg(lab.process.pid, signal.SIGKILL)
    lab.__exit__()
    assert_the_disk_is_gone(lab)


def devices_of(folder):
    files = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [file for file in files if file.startswith(folder)]
