"""Control groups: trees of files as they show themselves, and a real one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECOND = {"self": "0::/kube/pod/main\n"}


def first(controllers):
    """What a process in a container of version 1 finds of its groups."""
    return {"self": f"5:devices:/a\n4:{controllers}:/docker/abc\n0::/\n"}


def written(folder, files):
    """Write a tree of names and texts."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def said_in_a_real_group(controller, limit, value, program):
    """What a program prints that first enters a group of version 1 with one limit."""
    group = Path(f"/sys/fs/cgroup/{controller}/specctl-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"control groups of version 1 cannot be made here: {error.strerror}")
    try:
        if not os.access(group / limit, os.W_OK):
            pytest.skip("control groups of version 1 cannot be limited here")
        (group / limit).write_text(value)
        enter = f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid()));"
        done = subprocess.run(
            [sys.executable, "-c", enter + program], capture_output=True, text=True, check=True
        )
    finally:
        group.rmdir()
    return done.stdout
