"""The gate before the clock: does a contender give the right numbers, and does its basis train?"""

import math

import torch
from torch import Tensor

from specctl.bench.accuracy import (
    Reference,
    breach,
    db_errors,
    gradient_errors,
    greatest_error,
    reference_gradient,
)
from specctl.bench.contenders.base import Contender, Prepared
from specctl.bench.results import Cell
from specctl.bench.workload import Workload
from specctl.kernels.memory import is_out_of_memory

_GRADIENT_SECONDS = 3.0
"""Of the first clip, what the float64 gradient is taken over."""


class Gate:
    """Holds everybody who computes one workload against the same float64 numbers.

    Parameters
    ----------
    workload : Workload
    waveform : Tensor, shape (batch, samples)
        On the CPU; the first and the last clip are compared.
    """

    def __init__(self, workload: Workload, waveform: Tensor) -> None:
        self._workload = workload
        self._waveform = waveform
        items = sorted({0, workload.batch - 1})
        self._references = {item: Reference(waveform[item]) for item in items}
        self._gradients: dict[str, Tensor] = {}

    def check(self, contender: Contender, prepared: Prepared, cell: Cell) -> bool:
        """Write the errors into ``cell`` and say whether it may be timed."""
        device = self._workload.device
        output = prepared.forward(self._waveform.to(device))
        values = prepared.values(output).detach().cpu()
        problem = self._wrong_shape(prepared, values) or _not_finite(values)
        if problem is not None:
            return _refuse(cell, problem)
        errors = self._errors(prepared, values)
        cell.max_db_error_by_level = errors
        cell.max_db_error = greatest_error(errors)
        broken = breach(errors, prepared.definition)
        cell.keeps_contract = broken is None
        if prepared.step is not None and (silent := self._train(prepared, cell)) is not None:
            return _refuse(cell, silent)
        if broken is None:
            return True
        if contender.precision != "fp32":
            cell.note = f"{contender.precision}: {broken}"
            return True
        return _refuse(cell, f"breaks the contract: {broken}")

    def _wrong_shape(self, prepared: Prepared, values: Tensor) -> str | None:
        config = prepared.definition
        n_frames = config.n_frames(self._workload.n_samples)
        batch, freq, time = self._workload.batch, config.n_bins, values.shape[-1]
        wanted = (batch, freq, n_frames)
        if values.shape[:-1] == wanted[:-1] and n_frames - prepared.missing_frames <= time:
            return None if time <= n_frames else f"gave {tuple(values.shape)}, not {wanted}"
        return f"gave {tuple(values.shape)}, not {wanted}"

    def _errors(self, prepared: Prepared, values: Tensor) -> dict[str, float]:
        worst: dict[str, float] = {}
        for item, reference in self._references.items():
            truth = reference.spectrogram(prepared.definition)
            n_frames = min(truth.shape[-1], values.shape[-1])
            errors = db_errors(
                values[item, :, :n_frames], truth[:, :n_frames], prepared.definition
            )
            for name, off in errors.items():
                worst[name] = max(off, worst.get(name, 0.0))
        return dict(sorted(worst.items(), key=lambda each: -int(each[0].split()[0])))

    def _train(self, prepared: Prepared, cell: Cell) -> str | None:
        """Take a step; say what is wrong if the basis has nothing from it."""
        if prepared.step is None or prepared.gradient is None:
            return None
        n_samples = min(
            self._waveform.shape[-1], round(_GRADIENT_SECONDS * self._workload.sample_rate)
        )
        excerpt = self._waveform[:1, :n_samples]
        prepared.step(excerpt.to(self._workload.device))
        if any(weight.grad is None or not weight.grad.any() for weight in prepared.parameters):
            return "its basis gets no gradient"
        key = prepared.definition.fingerprint()
        if key not in self._gradients:
            self._gradients[key] = reference_gradient(excerpt, prepared.definition)
        error, cosine = gradient_errors(prepared.gradient(), self._gradients[key])
        if not math.isfinite(error):
            return "its gradient is not finite"
        cell.gradient_error, cell.gradient_cosine = error, cosine
        return None


def _refuse(cell: Cell, problem: str) -> bool:
    cell.status, cell.note = "failed", problem
    return False


def _not_finite(values: Tensor) -> str | None:
    parts = torch.view_as_real(values) if values.is_complex() else values
    return None if bool(torch.isfinite(parts).all()) else "gave values that are not finite"


def record_problem(cell: Cell, problem: BaseException) -> None:
    """Turn an exception into a row."""
    is_oom = is_out_of_memory(problem)
    cell.status = "oom" if is_oom else "failed"
    first = (str(problem).strip() or "no message").splitlines()[0]
    cell.note = first if is_oom else f"{type(problem).__name__}: {first}"
