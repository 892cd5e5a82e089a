"""Mixtures of two clips and of their labels."""

import torch
from torch import Tensor, nn

from specctl.augment.base import check_tensor, check_within, read_lengths
from specctl.augment.draws import Draws
from specctl.eager import eager
from specctl.errors import ParameterError

# what scipy gives is off by a tenth for 10,000 and no number for 1e308; for 1000, proportions
# are within 0.1 of a half
ALPHA_RANGE = (1e-3, 1e3)


class Mixup(nn.Module):
    """Mix each clip with its neighbour in the batch, and their labels in the same proportion.

    Clips 0 and 1 are mixed with each other, 2 and 3, and so on, each with a proportion of its
    own; a last one without a neighbour stays as it is. In a batch in random order that is a
    random partner, and a batch that is cut at an even place gives the same numbers.

    Parameters
    ----------
    alpha : float
        The proportion follows the Beta distribution with both parameters ``alpha``; within
        [0.001, 1000].

    References
    ----------
    Zhang et al.: mixup, beyond empirical risk minimization, ICLR 2018.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        check_within("alpha", alpha, *ALPHA_RANGE)
        self.alpha = alpha

    def extra_repr(self) -> str:
        """How evenly it mixes."""
        return f"alpha={self.alpha}"

    @eager
    def forward(
        self, batch: Tensor, targets: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Parameters
        ----------
        batch : Tensor, shape (batch, ...)
            Waveforms or spectrograms.
        targets : Tensor, shape (batch, n_classes)
            Probabilities of the classes, for example one-hot. Mixtures of whole numbers are of
            torch's default type.
        generator : torch.Generator, optional
            On the CPU.

        Returns
        -------
        batch, targets : Tensor
            Of the same shapes.
        """
        _check_pairs(batch, targets)
        mixed, targets, _ = self.augment(
            batch, targets, None, Draws.from_generator(len(batch), generator)
        )
        return mixed, targets

    def augment(
        self, batch: Tensor, targets: Tensor, lengths: Tensor | None, draws: Draws
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """As ``forward``, with the numbers to draw from; a mixture is as long as its longer."""
        _check_pairs(batch, targets)
        if lengths is not None:
            lengths = read_lengths(lengths, batch)
        if not self.training:
            return batch, targets, lengths
        partner = torch.arange(len(batch)) ^ 1
        partner = torch.where(partner < len(batch), partner, torch.arange(len(batch)))
        # whoever has no partner is all of the mixture, not two parts that are rounded
        is_alone = partner == torch.arange(len(batch))
        share = _beta(self.alpha, draws.uniform()).masked_fill(is_alone, 1.0)
        if lengths is not None:
            lengths = torch.maximum(lengths, lengths[partner])
        partner = partner.to(batch.device)

        def mix(values: Tensor) -> Tensor:
            if not (values.is_floating_point() or values.is_complex()):
                # a proportion would be rounded to 0
                values = values.to(torch.get_default_dtype())
            own = share.to(values).reshape(-1, *[1] * (values.ndim - 1))
            return own * values + (1.0 - own) * values[partner]

        return mix(batch), mix(targets), lengths


def _check_pairs(batch: Tensor, targets: Tensor) -> None:
    """Refuse a batch that cannot be mixed, or targets that are not those of its clips."""
    check_tensor("batch", batch)
    if batch.ndim < 1 or not (batch.is_floating_point() or batch.is_complex()):
        raise ParameterError(
            f"batch must be floating point or complex of shape (batch, ...), got {batch.dtype} of "
            f"shape {tuple(batch.shape)}"
        )
    check_tensor("targets", targets)
    if targets.ndim != 2 or len(targets) != len(batch):
        raise ParameterError(
            f"targets must have shape ({len(batch)}, n_classes), got {tuple(targets.shape)}"
        )


def _beta(alpha: float, uniform: Tensor) -> Tensor:
    """The inverse of Beta(alpha, alpha)'s distribution function."""
    from scipy.special import betaincinv

    return torch.from_numpy(betaincinv(alpha, alpha, uniform.numpy()))
