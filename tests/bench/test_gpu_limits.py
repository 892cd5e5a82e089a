"""The search for the largest batch, and the ceilings, as far as a CPU can show them."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu_limits(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("gpu_limits")


@pytest.mark.parametrize("most", [1, 7, 64])
def test_finds_the_largest_batch_with_few_tries(gpu_limits, most):
    for limit in range(most + 3):
        tried = []

        def fits(count, limit=limit, tried=tried):
            tried.append(count)
            return count <= limit

        assert gpu_limits.largest(fits, most) == min(limit, most)
        assert len(tried) == len(set(tried)) <= 2 * most.bit_length() + 1
        assert max(tried) <= most


def test_ceilings_are_rates(gpu_limits):
    found = gpu_limits.ceilings("cpu", n_bytes=2**24, size=128, rounds=3)
    assert set(found) == {"copy_bytes_per_s", "bf16_flop_per_s", "fp32_flop_per_s"}
    assert all(1e6 < rate < 1e15 for rate in found.values())


def test_who_is_not_installed_is_named_and_the_others_are_measured(gpu_limits, monkeypatch):
    def found(name, *_):
        return SimpleNamespace(missing=lambda: "not here" if name == "nnAudio" else None)

    monkeypatch.setattr(gpu_limits, "find_contender", found)
    monkeypatch.setattr(gpu_limits, "_trains", lambda name, device, n_clips: n_clips <= 5)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=2**37)
    )
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *_: None)
    rows = {row["contender"]: row for row in gpu_limits.largest_batches("cuda")}
    assert rows["nnAudio"]["note"] == "not here"
    assert [rows[name]["largest_batch"] for name in ("specctl-conv", "torchlibrosa")] == [5, 5]


def test_packages_that_are_missing_are_named_at_once():
    # what is not there cannot be found
    hidden = "sys.modules.update(dict.fromkeys(('pydantic', 'h5py')))"
    code = f"import sys, runpy; {hidden}; sys.argv[1:] = ['all']; runpy.run_path('gpu.py')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=BENCHMARKS
    )
    assert done.returncode == 1
    assert done.stderr.startswith("packages must be installed that are not: pydantic, h5py\n")
    assert "-d wheels pydantic h5py\n" in done.stderr


def test_a_measurement_that_fails_does_not_keep_others_from_being_made(gpu_limits, monkeypatch):
    record = importlib.import_module("gpu")
    made = []

    def run(command, **_):
        made.append(command[2])
        return SimpleNamespace(returncode=-11 if made[-1] == "limits" else 0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(record, "gate", lambda: 0)
    monkeypatch.setattr(record.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "all"])
    assert record.main() == 1
    assert tuple(made) == record.ALL


def test_the_record_of_a_gpu_needs_one(gpu_limits, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "all"])
    assert importlib.import_module("gpu").main() == 1
    assert "no CUDA device" in capsys.readouterr().out
