"""Fresh memory is full of NaN, so that an element that nobody wrote is seen."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _poisoned_memory():
    # torch fills what it takes anew with NaN in this mode
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
