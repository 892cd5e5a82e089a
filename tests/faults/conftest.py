import pytest

from tests.faults.runner import Runner
from tests.faults.sweep import Sweep


@pytest.fixture(scope="package")
def runner(tmp_path_factory):
    with Runner(tmp_path_factory.mktemp("runner")) as runner:
        yield runner


@pytest.fixture(scope="package")
def sweep(runner, tmp_path_factory):
    return Sweep(runner, tmp_path_factory.mktemp("sweep"))
