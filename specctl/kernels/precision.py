"""Matrix products whose precision is owned by specctl, not inherited from the process.

PyTorch lets a program switch float32 products to TF32 or bf16 everywhere; a converter must not
follow silently. The switch is set around our own products, forward and backward, and put back.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from specctl.config import Precision

_HAS_OWNERS = hasattr(torch.backends.cuda.matmul, "fp32_precision")


class _Switches:
    """The switches of the process while blocks of ours are inside, whatever their threads.

    Exact wherever one of these has to be; the last one to leave puts them back.
    """

    def __init__(self) -> None:
        self._inside: list[bool] = []
        self._before: list[str] = []
        self._now: list[str] = []
        self.renew_lock()

    def renew_lock(self) -> None:
        """In the child of a fork another thread may have held it."""
        self._lock = threading.Lock()

    def enter(self, is_exact: bool) -> None:
        """Remember what the process has switched on, and switch."""
        with self._lock:
            if not self._inside:
                self._before = self._now = [_read(owner) for owner in _owners()]
            self._inside.append(is_exact)
            self._switch()

    def leave(self, is_exact: bool) -> None:
        """Switch for those that are left, or back."""
        with self._lock:
            self._inside.remove(is_exact)
            if self._inside:
                self._switch()
                return
            for owner, value, now in zip(_owners(), self._before, self._now, strict=True):
                if now != value:
                    _put_back(owner, value)

    def _switch(self) -> None:
        exact, fast = ("ieee", "tf32") if _HAS_OWNERS else ("highest", "high")
        value = exact if any(self._inside) else fast
        for owner, now in zip(_owners(), self._now, strict=True):
            if now != value:
                _write(owner, value)
        self._now = [value] * len(self._now)


_SWITCHES = _Switches()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SWITCHES.renew_lock)


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Compute float32 products in true float32, or in TF32 where ``precision`` says so."""
    is_exact = precision != "tf32"
    _SWITCHES.enter(is_exact)
    try:
        yield
    finally:
        _SWITCHES.leave(is_exact)


@contextmanager
def owned_precision(device: torch.device, precision: Precision) -> Iterator[None]:
    """`matmul_precision` without autocast, whatever the process has switched on."""
    with without_autocast(device), matmul_precision(precision):
        yield


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off where it is on; some devices have none."""
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _owners() -> list[Any]:
    """Whose products have a switch; before torch 2.9 there is one for all."""
    backends: Any = torch.backends
    return [backends.cuda.matmul, backends.mkldnn.matmul] if _HAS_OWNERS else [None]


def _read(owner: Any) -> str:
    value: str = torch.get_float32_matmul_precision() if owner is None else owner.fp32_precision
    return value


def _write(owner: Any, value: str) -> None:
    if owner is None:
        torch.set_float32_matmul_precision(value)
    else:
        owner.fp32_precision = value


def _put_back(owner: Any, value: str) -> None:
    if owner is not None:
        # what it had from the switch for all operations it shall go on having from there
        _write(owner, "none")
        if value == "none" or _read(owner) == value:
            return
    _write(owner, value)


def product(left: Tensor, right: Tensor, precision: Precision) -> Tensor:
    """``left @ right.T`` over the last dimension of both.

    Parameters
    ----------
    left : Tensor, shape (..., k)
    right : Tensor, shape (m, k)

    Returns
    -------
    Tensor, shape (..., m)
    """
    rows = left.reshape(-1, left.shape[-1])
    result: Tensor = _Product.apply(rows, right, precision)  # type: ignore[no-untyped-call]
    return result.reshape(*left.shape[:-1], right.shape[0])


def add_product(total: Tensor, left: Tensor, right: Tensor, precision: Precision) -> None:
    """``total += left @ right`` without gradients and, but in bf16, without a copy of it."""
    if precision == "bf16":
        total += _matmul(left, right, precision)
        return
    with owned_precision(left.device, precision):
        total.addmm_(left, right)


def product_into(out: Tensor, left: Tensor, right: Tensor, precision: Precision) -> None:
    """Fill ``out`` (n, m) with ``left @ right.T``, without gradients."""
    if precision == "bf16":
        out.copy_(_matmul(left, right.T, precision))
        return
    with owned_precision(left.device, precision):
        torch.mm(left, right.T, out=out)


class _Product(torch.autograd.Function):
    """A product whose backward runs at the precision of its forward."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, precision: Precision) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.precision = precision
        return _matmul(left, right.mT, precision)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        left, right = ctx.saved_tensors
        (gradient,) = gradients
        needs_left, needs_right = ctx.needs_input_grad[:2]
        return (
            _matmul(gradient, right, ctx.precision) if needs_left else None,
            _matmul(gradient.mT, left, ctx.precision) if needs_right else None,
            None,
        )


def _matmul(left: Tensor, right: Tensor, precision: Precision) -> Tensor:
    with owned_precision(left.device, precision):
        if precision == "bf16":
            return (left.bfloat16() @ right.bfloat16()).to(left.dtype)
        return left @ right
