"""Calls that run as they are written, whatever a program has switched on around them."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def eager(function: Callable[P, R]) -> Callable[P, R]:
    """Have ``torch.compile`` call a function as it is, and ``torch.set_default_device`` spare it.

    The former costs a break in the graph. New tensors are on the CPU where the function names no
    device. ``torch.export`` follows the function like any other.
    """
    outside: list[Callable[P, R]] = []

    @wraps(function)
    def on_cpu(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.get_default_device().type == "cpu":
            return function(*args, **kwargs)
        with torch.device("cpu"):
            return function(*args, **kwargs)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not torch.compiler.is_compiling():
            return on_cpu(*args, **kwargs)
        if _is_exporting():
            return function(*args, **kwargs)
        if not outside:
            # not before it is needed: this imports the compiler, which takes a second
            disable: Callable[..., Any] = torch.compiler.disable
            outside.append(disable(on_cpu))
        return outside[0](*args, **kwargs)

    return call


def _is_exporting() -> bool:
    # torch 2.6 cannot say; it leads strict exports around, too, which then fail
    ask: Callable[[], bool] | None = getattr(torch.compiler, "is_exporting", None)
    return ask is not None and ask()
