"""The search for the largest batch, and the ceilings, as far as a CPU can show them."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_record_of_a_gpu_needs_one():
    done = subprocess.run(
        [sys.executable, "gpu.py", "all"],
        capture_output=True,
        text=True,
        check=False,
        cwd=BENCHMARKS,
    )
    assert done.returncode == 1
    assert "no CUDA device" in done.stdout
