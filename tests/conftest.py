"""What tests of several layers need; idle threads of torch leave their cores to other tests."""

import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# hundreds of processes that start need not compile the program each time
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# libgomp reads it once, when torch is imported; as many threads compute the same numbers
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# how long an example takes says more of the machine than of the program
settings.register_profile("specctl", deadline=None)
settings.load_profile("specctl")


def pytest_collection_modifyitems(items):
    """What takes a minute begins first, so that nobody waits for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_interpreted.py")


@pytest.fixture
def read_only_folder():
    """A folder that this process may look into, and no more."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        if is_root:
            os.seteuid(65534)
        yield Path(name)
        if is_root:
            os.seteuid(0)
        Path(name).chmod(0o755)
