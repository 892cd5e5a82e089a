"""Matrix products whose precision is owned by specctl, not inherited from the process.

PyTorch lets a program switch float32 products to TF32 or bf16 everywhere; a converter must not
follow silently. The switch is set around our own products, forward and backward, and put back.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from specctl.config import Precision


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Compute float32 products in true float32, or in TF32 where ``precision`` says so."""
    wanted = "tf32" if precision == "tf32" else "ieee"
    with ExitStack() as undo:
        if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
            backends: Any = torch.backends
            for owner in (backends.cuda.matmul, backends.mkldnn.matmul):
                _set(undo, owner, wanted)
        else:
            before = torch.get_float32_matmul_precision()
            undo.callback(torch.set_float32_matmul_precision, before)
            torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        yield


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


def _set(undo: ExitStack, owner: Any, value: str) -> None:
    before = owner.fp32_precision
    if before != value:
        undo.callback(setattr, owner, "fp32_precision", before)
        owner.fp32_precision = value


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
        return _matmul(left, right.T, precision)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        left, right = ctx.saved_tensors
        (gradient,) = gradients
        needs_left, needs_right = ctx.needs_input_grad[:2]
        return (
            _matmul(gradient, right, ctx.precision) if needs_left else None,
            _matmul(gradient.T, left, ctx.precision) if needs_right else None,
            None,
        )


def _matmul(left: Tensor, right: Tensor, precision: Precision) -> Tensor:
    with owned_precision(left.device, precision):
        if precision == "bf16":
            return (left.bfloat16() @ right.bfloat16()).to(left.dtype)
        return left @ right
