import os
import sys
import tomllib
from pathlib import Path

import h5py
import pytest
import soundfile
import torch

from specctl.doctor import examine, findings
from specctl.doctor.facts import PACKAGES
from specctl.doctor.system import file_system, write_problem

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def no_switches(monkeypatch):
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    monkeypatch.delenv("HDF5_PLUGIN_PRELOAD", raising=False)


def test_tells_what_is_loaded(tmp_path):
    machine = examine(tmp_path)
    assert machine.hdf5 == h5py.version.hdf5_version
    assert machine.libsndfile == soundfile.__libsndfile_version__
    # a wheel may be called without the kind of build that torch itself tells
    assert machine.packages["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert (machine.cuda, len(machine.gpus)) == (torch.version.cuda, torch.cuda.device_count())
    assert machine.broken == {}
    assert machine.lanes in (4, 8, 16)
    assert machine.write_problem is None
    assert list(tmp_path.iterdir()) == []


def test_switches_are_those_of_the_caller(tmp_path, monkeypatch):
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    machine = examine(tmp_path)
    assert machine.switches["HDF5_USE_FILE_LOCKING"] == "FALSE"
    assert "locking" in [finding.about for finding in findings(machine)]


@pytest.mark.parametrize("package", ["soxr", "safetensors"])
def test_a_package_that_cannot_be_imported_is_named_with_the_reason(
    package, tmp_path, monkeypatch
):
    # an entry of None makes an import fail as a missing library does
    monkeypatch.setitem(sys.modules, package, None)
    machine = examine(tmp_path)
    assert set(machine.broken) == {package}
    assert package in machine.broken[package]
    assert package in [finding.about for finding in findings(machine)]


@pytest.mark.parametrize("problem", [None, "needs a C compiler and Python's headers for triton"])
def test_a_gpu_that_kernels_cannot_run_on_is_told_with_the_reason(problem, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "H100")
    monkeypatch.setattr("specctl.kernels.gpu.problem", lambda device: problem)
    machine = examine(tmp_path)
    assert (machine.gpus, machine.gpu_problem) == (("H100",), problem)
    found = [each for each in findings(machine) if each.about == "kernels"]
    assert len(found) == (problem is not None)
    assert all("apt install gcc" in each.cure for each in found)


def test_looks_for_everything_that_specctl_is_installed_with():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = dict(each.split(">=") for each in project["dependencies"])
    assert required == PACKAGES


def test_a_folder_that_is_not_there_is_a_problem(tmp_path):
    machine = examine(tmp_path / "none")
    assert machine.write_problem == "cannot be written to: No such file or directory"
    assert machine.free_bytes is None


def test_a_disk_that_cannot_sync_is_a_problem(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    assert write_problem(tmp_path) == "cannot be synced: Input/output error"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["größe", "a b", "\udcff", "back\\slash", "größe/a\tb", "a\xa0b\u2028\r"]
)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_mount_is_found_whatever_its_name(name, tmp_path, monkeypatch):
    point = os.fsencode(tmp_path / name)
    for byte in b"\\ \t\n":
        point = point.replace(bytes([byte]), b"\\%03o" % byte)
    mounts = tmp_path / "mounts"
    mounts.write_bytes(b"/dev/vda / ext4 rw 0 0\nserver:/x " + point + b" nfs4 rw 0 0\n")
    monkeypatch.setattr("specctl.doctor.system._MOUNTS", mounts)
    assert file_system(tmp_path / name / "here") == "nfs4"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_file_system_is_that_of_the_nearest_mount():
    assert file_system("/proc/self") == "proc"
    assert file_system("/dev/shm") == "tmpfs"
