"""Calls that run as they are written, whatever a program has switched on around them."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch.torch_version import TorchVersion

P = ParamSpec("P")
R = TypeVar("R")

_SAYS_WHETHER = TorchVersion(torch.__version__) >= "2.12"
"""Before, torch takes everything that is compiled for an export."""


def eager(function: Callable[P, R]) -> Callable[P, R]:
    """Have ``torch.compile`` call a function as it is, and ``torch.set_default_device`` spare it.

    The former costs a break in the graph. New tensors are on the CPU where the function names no
    device. ``torch.export`` follows the function like any other.
    """
    outside: Callable[P, R] | None = None

    @wraps(function)
    def on_cpu(*args: P.args, **kwargs: P.kwargs) -> R:
        if default_device().type == "cpu":
            return function(*args, **kwargs)
        with torch.device("cpu"):
            return function(*args, **kwargs)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal outside
        if not torch.compiler.is_compiling():
            return on_cpu(*args, **kwargs)
        if _is_exporting():
            return function(*args, **kwargs)
        if outside is None:
            # not before it is needed: this imports the compiler, which takes a second
            disable: Callable[..., Any] = torch.compiler.disable
            outside = disable(on_cpu)
        return outside(*args, **kwargs)

    return call


def default_device() -> torch.device:
    """Where torch makes a tensor for which no device is named.

    `torch.get_default_device` of torch 2.6 knows of no ``with torch.device(...)``.
    """
    return torch.empty(0).device


def _is_exporting() -> bool:
    if _SAYS_WHETHER:
        return torch.compiler.is_exporting()
    # exports do without dynamo, or have it keep to settings of their own
    return not torch.compiler.is_dynamo_compiling() or torch._dynamo.config.allow_rnn
