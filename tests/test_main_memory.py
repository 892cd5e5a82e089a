"""Memory that a process may use, from control groups as containers and systemd make them."""

import os

import pytest

from specctl.bench.audio import check_room
from specctl.bench.workload import Workload
from specctl.doctor import examine
from specctl.errors import ParameterError
from specctl.main_memory import memory_limit, usable_memory
from tests.group_files import SECOND, first, said_in_a_real_group, written

FIRST = first("memory")
GIB = 2**30
UNLIMITED = "9223372036854771712\n"  # of version 1


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({**SECOND, "kube/pod/main/memory.max": f"{GIB}\n"}, GIB),
        ({**SECOND, "kube/pod/main/memory.max": "max\n"}, None),
        # a pod has less than its container says
        ({**SECOND, "kube/pod/main/memory.max": f"{2 * GIB}", "kube/memory.max": f"{GIB}"}, GIB),
        # the name is one outside the container, which sees its own group on top
        ({**SECOND, "memory.max": f"{GIB}\n"}, GIB),
        ({**SECOND, "unified/kube/memory.max": f"{GIB}\n"}, GIB),
        (
            {
                **FIRST,
                "memory/docker/abc/memory.limit_in_bytes": f"{GIB}\n",
                "memory/memory.limit_in_bytes": UNLIMITED,
            },
            GIB,
        ),
        ({**FIRST, "memory/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        ({**SECOND, "memory.max": "nonsense"}, None),
        ({"self": "nonsense\n"}, None),
        ({}, None),
    ],
    ids=[
        *("second", "unlimited", "pod", "inside", "hybrid"),
        *("first", "first-inside", "nonsense", "no-line", "none"),
    ],
)
def test_the_least_limit_of_the_groups_counts(tmp_path, files, limit):
    written(tmp_path, files)
    assert memory_limit(tmp_path, tmp_path / "self") == limit


def test_usable_is_what_both_machine_and_groups_allow(monkeypatch):
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = ((None, installed), (12345, 12345), (int(UNLIMITED), installed))
    for limit, usable in limits:
        monkeypatch.setattr("specctl.main_memory.memory_limit", lambda limit=limit: limit)
        assert usable_memory() == usable


def test_bench_and_doctor_see_the_limit(monkeypatch, tmp_path):
    monkeypatch.setattr("specctl.main_memory.memory_limit", lambda: 64 * 10**6)
    assert examine(tmp_path).memory_bytes == 64 * 10**6
    workload = Workload("mel", "log-mel", 16000, 64, 16, 8, 126, 2.0, "cpu", 1)
    words = "batch must be at most 125 with 2 s at 16000 Hz where 64 MB of memory may be used"
    with pytest.raises(ParameterError, match=f"{words}, got 126"):
        check_room(workload)


def test_a_real_group_limits_a_process():
    program = "from specctl.main_memory import usable_memory; print(usable_memory())"
    said = said_in_a_real_group("memory", "memory.limit_in_bytes", str(GIB), program)
    assert said == f"{GIB}\n"
