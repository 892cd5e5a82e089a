"""Only for processes of their own: the interpreter replaces parts of Triton for good."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from triton.runtime import interpreter


def _dot(self: Any, a: Any, b: Any, d: Any, *_: object) -> Any:
    """A number of a product depends on its row and its column alone, as on a GPU.

    The interpreter takes a BLAS, which on some processors sums the rows at the edge of a product
    in another order.
    """
    product = np.einsum("...ik,...kj->...ij", a.data, b.data, dtype=d.data.dtype)
    return interpreter.TensorHandle(product + d.data, d.dtype.scalar)


_call_of_triton = interpreter.InterpretedFunction.__call__


def _call(self: Any, *arguments: Any, **named: Any) -> Any:
    """A function called by a kernel, with which it shares the language that is interpreted.

    For those of Triton that is put in place with every call, which takes longer than most do.
    """
    if self.fn.__module__.startswith("specctl."):
        return self.rewrite()(*arguments, **named)
    return _call_of_triton(self, *arguments, **named)


@pytest.fixture(autouse=True)
def _as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> Any:
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.fail("needs TRITON_INTERPRET=1; run tests/kernels/gpu/test_interpreted.py")
    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", _dot)
    monkeypatch.setattr(interpreter.InterpretedFunction, "__call__", _call)
    # a sixth of the time goes into looking for sums of indices beyond 2**31, far from any here
    options = replace(interpreter.interpreter_builder.options, sanitize_overflow=False)
    monkeypatch.setattr(interpreter.interpreter_builder, "options", options)
    # torch fills what it takes anew with NaN in this mode
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
