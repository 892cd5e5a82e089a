"""Cores that a process may use, from control groups as containers and systemd make them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from specctl.cores import core_quota, n_cores, usable_cores
from tests.group_files import SECOND, first, written

FIRST = first("cpu,cpuacct")


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({**SECOND, "kube/pod/main/cpu.max": "150000 100000\n"}, 1.5),
        ({**SECOND, "kube/pod/main/cpu.max": "max 100000\n"}, None),
        # a pod has less than its container says
        (
            {**SECOND, "kube/pod/main/cpu.max": "max 9", "kube/pod/cpu.max": "50000 100000"},
            0.5,
        ),
        # the name is one outside the container, which sees its own group on top
        ({**SECOND, "cpu.max": "400000 100000\n"}, 4.0),
        ({**SECOND, "unified/kube/cpu.max": "300000 100000\n"}, 3.0),
        (
            {
                **FIRST,
                "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
                "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        ({**FIRST, "cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({**FIRST, "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({**FIRST, "cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "0"}, None),
        ({**SECOND, "cpu.max": "nonsense"}, None),
        ({"self": "nonsense\n"}, None),
        ({}, None),
    ],
    ids=[
        *("second", "unlimited", "pod", "inside", "hybrid"),
        *("first", "first-inside", "first-unlimited", "no-period", "nonsense", "no-line", "none"),
    ],
)
def test_the_least_quota_of_the_groups_counts(tmp_path, files, quota):
    written(tmp_path, files)
    assert core_quota(tmp_path, tmp_path / "self") == quota


def test_cores_are_those_that_may_be_used(monkeypatch):
    assert n_cores() == len(os.sched_getaffinity(0))
    for quota, cores in ((None, 4), (2.0, 2), (1.5, 2), (0.25, 1), (64.0, 4)):
        monkeypatch.setattr("specctl.cores.n_cores", lambda: 4)
        monkeypatch.setattr("specctl.cores.core_quota", lambda quota=quota: quota)
        assert usable_cores() == cores


TOP = Path("/sys/fs/cgroup/cpu")


def test_a_real_group_limits_a_process():
    group = TOP / f"specctl-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"control groups of version 1 cannot be made here: {error.strerror}")
    try:
        limit = group / "cpu.cfs_quota_us"
        if not limit.exists() or not os.access(limit, os.W_OK):
            pytest.skip("control groups of version 1 cannot be limited here")
        limit.write_text("70000")
        program = (
            f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid()));"
            "from specctl.cores import core_quota, usable_cores;"
            "print(core_quota(), usable_cores())"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
    finally:
        group.rmdir()
    assert done.stdout == "0.7 1\n"
