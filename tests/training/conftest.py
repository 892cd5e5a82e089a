import gc

import pytest
import torch

from tests.training.audio import write_phases, write_tones


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The smallest products are faster so, and sums come out the same on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def no_search_for_garbage_in_libraries():
    """Every training collects garbage once; looking through torch takes longer than it does."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """Two classes of eight clips that anything can tell apart."""
    return write_tones(tmp_path_factory.mktemp("tones") / "in")


@pytest.fixture(scope="session")
def phases(tmp_path_factory):
    """Four classes that differ in what magnitudes do not hold."""
    return write_phases(tmp_path_factory.mktemp("phases") / "in")
