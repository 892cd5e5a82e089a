"""Cores that a process may use, from control groups as containers and systemd make them."""

import os

import pytest

from specctl.cores import core_quota, n_cores, usable_cores
from tests.group_files import SECOND, first, said_in_a_real_group, written

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


def test_a_real_group_limits_a_process():
    program = (
        "from specctl.cores import core_quota, usable_cores; print(core_quota(), usable_cores())"
    )
    said = said_in_a_real_group("cpu", "cpu.cfs_quota_us", "70000", program)
    assert said == "0.7 1\n"
