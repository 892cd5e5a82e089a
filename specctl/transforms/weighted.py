"""What a transform holds: weights, where they start, which of them train, where they live."""

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from specctl.basis import Basis, save_basis
from specctl.config import SpectrogramConfig
from specctl.dsp.basis import fourier_basis, unwindowed_basis
from specctl.dsp.mel import dct_matrix
from specctl.dsp.rows import rows_at
from specctl.dsp.windows import window
from specctl.eager import eager
from specctl.errors import ParameterError
from specctl.transforms.constants import WithConstants, put
from specctl.transforms.pcen import Pcen
from specctl.transforms.weights import Start, basis_of, checked_names, start_weights

_REDUCED = (torch.float16, torch.bfloat16)


class Weighted(WithConstants):
    """Weights by name, as parameters where they are trained, else as buffers.

    They are float32, or float64 in a model of doubles. A model made half precision leaves them
    as they are, since a power spectrum does not fit into 16 bits, and has results rounded. Where
    a checkpoint or `torch.func.functional_call` puts others in place, all are widened for each
    call. Constants need not be in a checkpoint: a model that was built on the meta device has
    them as soon as it has memory.
    """

    config: SpectrogramConfig
    window: Tensor  # (n_fft,)
    mel: Tensor | None  # (n_mels, n_freqs)
    dct: Tensor | None  # (n_mfcc, n_mels)
    basis: Tensor | None  # (2 * n_freqs, n_fft), without the window where that is trained
    frequencies: Tensor | None  # (n_freqs,) in bins, where rows are of one frequency each
    pcen: Pcen | None

    def _begin(
        self,
        config: SpectrogramConfig,
        trainable: Sequence[str],
        init: str | Path | Basis,
        seed: int,
    ) -> Start:
        """Settle what is trained and where it starts; `_hold` takes the weights over."""
        self.config = config
        self._trainable = checked_names(trainable, config)
        self._init, self._seed = init, seed
        self._result_dtype: torch.dtype | None = None
        start = start_weights(config, init, seed)
        start.check(self._trainable)
        self._trained_before = start.trained
        self._is_fourier = start.is_fourier
        return start

    def _hold(self, start: Start, *, with_rows: bool) -> None:
        self._has_rows = with_rows and "frequencies" not in self._trainable
        for name, value in self._first(start).items():
            if value is None:
                # not as a buffer of None, at which torch.export stumbles
                setattr(self, name, None)
            elif name in self._trainable:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value, persistent=False)
        self.pcen = self._first_pcen(start)

    def _first(self, start: Start) -> dict[str, Tensor | None]:
        """The weights before any training."""
        return {
            "window": start.window,
            "mel": start.mel,
            "dct": dct_matrix(self.config) if self.config.n_mfcc is not None else None,
            "frequencies": None if "basis" in self._trainable else start.frequencies,
            "basis": self._first_basis(start) if self._has_rows else None,
        }

    def _first_basis(self, start: Start) -> Tensor:
        if "window" in self._trainable and start.rows is not None:
            return start.rows().to(torch.float32)
        return start.basis()

    def _first_pcen(self, start: Start) -> Pcen | None:
        if self.config.scale != "pcen":
            return None
        pcen = Pcen.from_config(self.config, trainable="pcen" in self._trainable)
        if start.pcen is not None:
            pcen.set_stacked(start.pcen)
        return pcen

    def _has_memory(self) -> bool:
        """Whether no weight is on the meta device."""
        pcen = None if self.pcen is None else self.pcen.weight
        weights = (self.window, self.mel, self.dct, self.frequencies, self.basis, pcen)
        return not any(weight is not None and weight.is_meta for weight in weights)

    def _first_again(self) -> tuple[dict[str, Tensor | None], Pcen | None]:
        with torch.device("cpu"):
            start = start_weights(self.config, self._init, self._seed)
            return self._first(start), self._first_pcen(start)

    def first_value(self, name: str) -> Tensor:
        """The numbers of a constant."""
        value = self._first_again()[0][name]
        if value is None:
            raise AttributeError(f"{type(self).__name__} has no constant {name!r}")
        return value

    def reset_parameters(self) -> None:
        """Give all weights the numbers they start with again."""
        first, _ = self._first_again()
        for name, value in first.items():
            if value is not None:
                put(getattr(self, name), value)
        if self.pcen is not None:
            self.pcen.reset_parameters()

    def _give_constants(self, device: torch.device) -> None:
        """Memory and their numbers to the weights that are not trained and have neither."""
        first, pcen = self._first_again()
        for name, value in first.items():
            if value is not None and name not in self._trainable and getattr(self, name).is_meta:
                self._buffers[name] = value.to(device)
        if pcen is not None and self.pcen is not None and "pcen" not in self._trainable:
            self.pcen.weight = pcen.weight.to(device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        had_memory = self._has_memory()
        # a move to another device leaves both as they are
        asked = {fn(self.window.new_empty(0, dtype=dtype)).dtype for dtype in _REDUCED}
        if len(asked) == 1:
            (dtype,) = asked
            self._result_dtype = dtype if dtype in _REDUCED else None

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in _REDUCED else moved

        super()._apply(move, recurse)  # type: ignore[no-untyped-call]
        if self._has_memory() and not (had_memory and _keeps_numbers(fn)):
            self.reset_parameters()
        return self

    @eager
    def to_basis(self, **metadata: Any) -> Basis:
        """A copy of the weights as a basis file holds them.

        Parameters
        ----------
        **metadata
            Plain values to keep with them: classes, dataset, verdict.

        Raises
        ------
        ParameterError
            If some weights are on the meta device, or divided among processes.
        """
        if not self._has_memory():
            raise without_memory()
        if any(hasattr(weight, "full_tensor") for weight in (*self.parameters(), *self.buffers())):
            raise ParameterError(
                "weights must be whole, they are divided among processes: call unshard() of the "
                "model first, in all of them"
            )
        weights = {
            "basis": self._whole_basis(),
            "window": self.window,
            "frequencies": self.frequencies,
            "mel": self.mel,
            "pcen": self.pcen.stacked() if self.pcen is not None else None,
        }
        trained = self._trainable | set(self._trained_before)
        return basis_of(weights, self.config, trained, metadata)

    def save_basis(self, path: str | Path, *, overwrite: bool = False, **metadata: Any) -> None:
        """Write the weights to a basis file, for `from_basis`, ``init`` and ``convert --basis``.

        Raises
        ------
        BasisError
            If the file exists and ``overwrite`` is not set, or cannot be written.
        """
        save_basis(path, self.to_basis(**metadata), overwrite=overwrite)

    @property
    def n_trained(self) -> int:
        """How many numbers are trained."""
        return sum(weight.numel() for weight in self.parameters() if weight.requires_grad)

    def _current_basis(self) -> Tensor | None:
        """The rows that frames are multiplied with; ``None`` where the kernel knows them."""
        if "frequencies" in self._trainable and self.frequencies is not None:
            frequencies = self.frequencies.to(common_dtype(self.frequencies))
            return rows_at(frequencies, self.config.n_fft) * self.window
        if self.basis is not None and "window" in self._trainable:
            return self.basis * self.window
        return self.basis

    def _whole_basis(self) -> Tensor:
        basis = self._current_basis()
        if basis is not None:
            return basis
        taper = self.window.to(common_dtype(self.window))
        if torch.equal(taper, window(self.config).to(taper)):
            return fourier_basis(self.config)
        return unwindowed_basis(self.config).to(taper) * taper


def common_dtype(*weights: Tensor | None) -> torch.dtype:
    """What is computed in: float64 where a weight is, else float32."""
    dtypes = (weight.dtype for weight in weights if weight is not None)
    return reduce(torch.promote_types, dtypes, torch.float32)


def without_memory() -> ParameterError:
    """What to raise where numbers are asked for that are not there."""
    return ParameterError(
        "weights must have memory, some are on the meta device: to_empty and "
        "load_state_dict(..., assign=True) give it to them"
    )


def _keeps_numbers(fn: Callable[[Tensor], Tensor]) -> bool:
    """Whether what ``fn`` gives holds what it was given; ``to_empty`` gives new memory."""
    try:
        # nothing else can give memory to what has none
        return fn(torch.empty(0, device="meta")).is_meta
    except Exception:  # of any kind: each function refuses in its own way
        return True
