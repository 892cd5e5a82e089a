"""Per-channel energy normalisation as a module with four trained numbers a band."""

from typing import Self

import torch
from torch import Tensor, nn

from specctl.config import SpectrogramConfig
from specctl.dsp.pcen import default_smoothing, pcen, smoothed, smoothed_followed
from specctl.errors import ParameterError
from specctl.kernels.traced import is_followed
from specctl.transforms.constants import WithConstants, put

_ROWS = ("gain", "bias", "power", "smoothing")
_LIBROSA = (0.98, 2.0, 0.5)

_FLOAT32 = torch.finfo(torch.float32)

# what a basis file can hold: 1 is not in the range, but what a sigmoid of 17 is rounded to
_LOGS = (-87.0, 88.0)
_SMOOTHING = (_FLOAT32.tiny, 1.0 - _FLOAT32.eps / 2)


class Pcen(WithConstants):
    """Gain control and root for each band; starts with the numbers of ``librosa.pcen``.

    Parameters
    ----------
    n_bands : int
    smoothing : float
        Weight of the newest frame in the running mean, in (0, 1).
    eps : float
        Above 0; added to the running mean.
    trainable : bool
        Whether ``weight`` is a parameter.

    Raises
    ------
    ParameterError
        If ``smoothing`` is out of range.

    Notes
    -----
    ``weight`` holds logarithms of gain, bias and power and the logit of the smoothing, so that no
    step of an optimiser leaves their ranges. The running mean starts at the first frame, where
    librosa's starts at 1.
    """

    weight: Tensor  # (4, n_bands)

    def __init__(
        self,
        n_bands: int,
        smoothing: float,
        *,
        eps: float = 1e-6,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        if not 0 < smoothing < 1:
            raise ParameterError(f"smoothing must be in (0, 1), got {smoothing}")
        self.eps = eps
        # of float32, whatever the default of torch is
        values = torch.tensor([*_LIBROSA, smoothing], dtype=torch.float32)
        weight = _to_weight(values[:, None].repeat(1, n_bands))
        self._first = weight.clone()
        if trainable:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight, persistent=False)

    @classmethod
    def from_config(cls, config: SpectrogramConfig, *, trainable: bool = True) -> Self:
        """With librosa's numbers for the rate and step of ``config``; ``amin`` is ``eps``."""
        smoothing = default_smoothing(config.sample_rate, config.hop_length)
        return cls(config.n_bins, smoothing, eps=config.amin or 1e-6, trainable=trainable)

    @property
    def values(self) -> dict[str, Tensor]:
        """``gain``, ``bias``, ``power`` and ``smoothing`` of each band, (n_bands,)."""
        # a checkpoint may be of fewer bits, of which the highest smoothing would be rounded to 1
        weight = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
        logs = dict(zip(_ROWS, weight, strict=True))
        smoothing = torch.sigmoid(logs.pop("smoothing")).clamp(*_SMOOTHING)
        values = {name: torch.exp(log.clamp(*_LOGS)) for name, log in logs.items()}
        return {**values, "smoothing": smoothing}

    def stacked(self) -> Tensor:
        """`values` as one tensor, (4, n_bands), as a basis file keeps them."""
        values = self.values
        return torch.stack([values[name] for name in _ROWS])

    def set_stacked(self, values: Tensor) -> None:
        """Take over what `stacked` gave."""
        self._first = _to_weight(values)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Give the weight the numbers that it starts with again."""
        put(self.weight, self._first)

    def first_value(self, name: str) -> Tensor:
        """The numbers of ``weight`` where it is not trained."""
        return self._first

    def forward(self, spec: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Normalise powers or magnitudes of bands.

        Parameters
        ----------
        spec : Tensor, shape (batch, n_bands, n_frames)
            What is below 0, as trained bands may be, counts as 0.
        before : Tensor, optional, shape (batch, n_bands)
            Running mean where an earlier stretch of the same items ended.

        Returns
        -------
        spec : Tensor, same shape
        after : Tensor, shape (batch, n_bands)
            Running mean at the last frame.
        """
        spec, values = spec.clamp_min(0.0), self.values
        smoothing = values.pop("smoothing")
        if is_followed(spec, self.weight):
            smooth = smoothed_followed(spec, smoothing, before)
        else:
            smooth = smoothed(spec, smoothing, before)
        return pcen(spec, smooth, eps=self.eps, **values), smooth[..., -1]


def _to_weight(values: Tensor) -> Tensor:
    """Rows of `_ROWS` as `Pcen.weight` holds them."""
    values = values.double()
    return torch.cat([values[:-1].log(), torch.logit(values[-1:])]).float()
