"""Puts the shim into every process of a conversion; a test puts this folder on PYTHONPATH."""

import os
import sys

settings = os.environ.get("SPECCTL_TEST_FAULT")
if settings:
    sys.path.insert(0, os.environ["SPECCTL_TEST_ROOT"])
    from tests.faults.shim import installed

    shim = installed(settings)
    is_parent = os.environ.setdefault("SPECCTL_TEST_PARENT", str(os.getpid())) == str(os.getpid())

    def begin_worker() -> None:
        shim.restart()
        shim.is_off = shim.role == "parent"

    shim.is_off = shim.role == ("worker" if is_parent else "parent")
    # a worker is forked by the fork server, which touches no store
    os.register_at_fork(after_in_child=begin_worker)
