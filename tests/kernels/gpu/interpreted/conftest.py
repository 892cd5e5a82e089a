"""Only for processes of their own: the interpreter replaces parts of Triton for good."""

import os

import pytest
import torch


@pytest.fixture(autouse=True)
def _poisoned_memory():
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.fail("needs TRITON_INTERPRET=1; run tests/kernels/gpu/test_interpreted.py")
    # torch fills what it takes anew with NaN in this mode
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
