"""Only for processes of their own: the interpreter replaces parts of Triton for good."""

import os

import pytest
import torch

if os.environ.get("TRITON_INTERPRET") != "1":
    raise pytest.UsageError("set TRITON_INTERPRET=1, or run tests/kernels/gpu/test_interpreted.py")


@pytest.fixture(autouse=True)
def _poisoned_memory():
    # torch fills what it takes anew with NaN in this mode
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
