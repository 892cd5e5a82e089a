"""Each known trouble is named with its cure, and a sound machine has none."""

from dataclasses import replace

import pytest

from specctl.doctor import Machine, findings

GIB = 1 << 30
SOUND = Machine(
    specctl="1.0",
    python="3.12.1",
    system="Linux-6.1",
    packages={
        **{"numpy": "2.4.6", "torch": "2.13.0+cpu", "h5py": "3.20.0", "soundfile": "0.14.0"},
        **{"soxr": "1.1.0", "llvmlite": "0.50.0", "isal": "1.9.1", "pydantic": "2.14.3"},
        **{"safetensors": "0.8.0", "scipy": "1.18.0"},
        **{"librosa": "0.11.0", "typer": "0.27.0", "rich": "15.0.0"},
        **{"av": "18.1.0", "triton": None, "matplotlib": None},
    },
    broken={},
    hdf5="2.2.0",
    libsndfile="1.2.2",
    llvm="22.1.0",
    cuda=None,
    has_nvidia_driver=False,
    gpus=(),
    gpu_problem=None,
    code_problem=None,
    cpu="znver4",
    lanes=16,
    cores=4,
    core_quota=None,
    memory_bytes=16 * GIB,
    open_files=1024,
    shm_bytes=8 * GIB,
    switches={},
    folder="out",
    file_system="ext4",
    free_bytes=100 * GIB,
    write_problem=None,
)


def with_package(**versions):
    return {"packages": {**SOUND.packages, **versions}}


TROUBLES = {
    "old python": ({"python": "3.9.2"}, "problem", "Python 3.9.2 is too old"),
    "no package": (with_package(soxr=None), "problem", "soxr is not installed"),
    "no scipy": (with_package(scipy=None), "problem", "scipy is not installed"),
    "broken": ({"broken": {"torch": "OSError: x"}}, "problem", "torch cannot be used: OSError: x"),
    "no code": (
        {"code_problem": "the system does not let specctl execute code; allow that"},
        "problem",
        "the system does not let specctl execute code",
    ),
    "old torch": (with_package(torch="2.5.1+cu121"), "problem", "CVE-2025-32434"),
    "old h5py": (with_package(h5py="3.9.0"), "problem", "h5py 3.9.0 is older than 3.12"),
    "old pydantic": (
        with_package(pydantic="2.6.4"),
        "problem",
        "pydantic 2.6.4 is older",
    ),
    "old hdf5": ({"hdf5": "1.14.6"}, "problem", "HDF5 1.14.6 has 19 known flaws"),
    "hdf5 of today": ({"hdf5": "2.0.0"}, "note", "mended in 2.2"),
    "overrun": ({"libsndfile": "1.0.31"}, "problem", "reads no MP3"),
    "untested": ({"libsndfile": "1.2.0"}, "note", "1.2.0 is not the version that was tested"),
    "no av": (with_package(av=None), "note", "m4a"),
    "no locks": ({"switches": {"HDF5_USE_FILE_LOCKING": "false"}}, "problem", "locks no files"),
    "plug-ins": ({"switches": {"HDF5_PLUGIN_PATH": "/x"}}, "note", "HDF5_PLUGIN_PATH is set"),
    "preload": ({"switches": {"HDF5_PLUGIN_PRELOAD": "/x"}}, "problem", "=/x lets a store load"),
    "tf32": ({"switches": {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}}, "note", "TF32"),
    "cpu build": ({"has_nvidia_driver": True}, "note", "built for CPUs only"),
    "no gpu": ({"has_nvidia_driver": True, "cuda": "13.0"}, "problem", "CUDA 13.0) finds no GPU"),
    "no compiler": (
        {
            "gpus": ("H100",),
            "gpu_problem": "needs a C compiler and Python's headers for triton: x",
        },
        "note",
        "cannot run on H100: needs a C compiler and Python's headers for triton: x",
    ),
    "old gpu": (
        {"gpus": ("T4",), "gpu_problem": "needs compute capability 8.0, this one has 7.5"},
        "note",
        "cannot run on T4: needs compute capability 8.0",
    ),
    "hidden gpu": (
        {"has_nvidia_driver": True, "cuda": "13.0", "switches": {"CUDA_VISIBLE_DEVICES": ""}},
        "note",
        "hidden",
    ),
    "read-only": ({"write_problem": "cannot be locked: No locks"}, "problem", "out cannot be loc"),
    "network": ({"file_system": "nfs4"}, "note", "out is on nfs4"),
    "full": ({"free_bytes": 5 << 20}, "note", "out has 5.24 MB free"),
    "memory": ({"memory_bytes": GIB}, "note", "1.07 GB of memory for 4 workers"),
    "few files": ({"open_files": 32}, "problem", "32 files at most"),
    "no shm": ({"shm_bytes": None}, "problem", "there is no /dev/shm"),
    "small shm": ({"shm_bytes": 64 << 20}, "note", "/dev/shm has 67.1 MB"),
    "quota": ({"core_quota": 1.5}, "note", "4 cores are seen, the container may use 1.5"),
}


def test_a_sound_machine_has_no_findings():
    assert findings(SOUND) == []


@pytest.mark.parametrize(("changes", "level", "message"), TROUBLES.values(), ids=TROUBLES)
def test_trouble_is_found_alone_and_has_a_cure(changes, level, message):
    (finding,) = findings(replace(SOUND, **changes))
    assert finding.level == level
    assert message in finding.message
    assert finding.cure


@pytest.mark.parametrize(("memory_gib", "n_notes"), [(8, 1), (0.75, 2)])
def test_memory_is_for_the_workers_that_a_quota_leaves(memory_gib, n_notes):
    machine = replace(SOUND, cores=64, core_quota=1.5, memory_bytes=int(memory_gib * GIB))
    notes = {finding.about: finding for finding in findings(machine)}
    assert len(notes) == n_notes
    if "memory" in notes:
        assert notes["memory"].message == "805 MB of memory for 2 workers"
        assert notes["memory"].cure == "convert with --workers 1"


def test_problems_come_before_notes():
    machine = replace(SOUND, hdf5="2.0.0", write_problem="cannot be written to: x")
    assert [finding.level for finding in findings(machine)] == ["problem", "note"]


@pytest.mark.parametrize("version", ["2.2", "2.10.0", "3.0.0-rc1", "develop"])
def test_versions_are_compared_as_numbers(version):
    assert findings(replace(SOUND, hdf5=version)) == []
