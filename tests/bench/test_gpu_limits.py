"""The search for the largest batch, and the ceilings, as far as a CPU can show them."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def printed(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=BENCHMARKS
    )
    return json.loads(done.stdout)


def test_finds_the_largest_batch_with_few_tries():
    program = """\
import json
from gpu_limits import largest
found = []
for most in (1, 7, 64):
    for limit in range(most + 3):
        tried = []
        def fits(count):
            tried.append(count)
            return count <= limit
        found.append([most, limit, largest(fits, most), tried])
print(json.dumps(found))
"""
    for most, limit, found, tried in printed(program):
        assert found == min(limit, most)
        assert len(tried) == len(set(tried)) <= 2 * most.bit_length() + 1
        assert max(tried) <= most


def test_ceilings_are_rates():
    program = (
        "import json\nfrom gpu_limits import ceilings\n"
        "print(json.dumps(ceilings('cpu', n_bytes=2**24, size=128, rounds=3)))"
    )
    found = printed(program)
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
