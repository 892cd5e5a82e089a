"""Batch normalisation over groups of clips of fixed size."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

GROUP_SIZE = 8
"""Clips that are normalised together."""

Reduce = Callable[[Tensor], Tensor]


class GroupedBatchNorm(nn.Module):
    """Batch normalisation that does not depend on how large a batch is processed at once.

    Means and variances are taken over groups of `GROUP_SIZE` clips in their order. A batch cut
    between groups, to save memory or to be shared among processes, gives the same numbers.

    Parameters
    ----------
    n_channels : int
    momentum : float
        Weight of a new batch in the running statistics that evaluation uses; more at the start,
        where all batches weigh the same.
    eps : float

    References
    ----------
    Hoffer, Hubara, Soudry: Train longer, generalize better, NeurIPS 2017 ("ghost batches").
    """

    running_mean: Tensor
    running_var: Tensor
    n_settled: Tensor  # () int64: batches in the running statistics
    pending: Tensor  # (2 * n_channels + 1,): sums over groups, and how many there were

    def __init__(self, n_channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))
        self.register_buffer("running_mean", torch.zeros(n_channels))
        self.register_buffer("running_var", torch.ones(n_channels))
        self.register_buffer("n_settled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("pending", torch.zeros(2 * n_channels + 1), persistent=False)

    def forward(self, x: Tensor, is_valid: Tensor | None = None) -> Tensor:
        """Normalise (batch, channels, ...).

        Parameters
        ----------
        x : Tensor, shape (batch, channels, ...)
        is_valid : Tensor, shape (batch, time), bool, optional
            For ``x`` of shape (batch, channels, time): which frames count. Others become 0.
        """
        if is_valid is None:
            groups = [x[first : first + GROUP_SIZE] for first in range(0, len(x), GROUP_SIZE)]
            return torch.cat([self._normalised(group) for group in groups])
        result = torch.zeros_like(x.transpose(1, 2))
        for first in range(0, len(x), GROUP_SIZE):
            part = slice(first, first + GROUP_SIZE)
            frames = x[part].transpose(1, 2)[is_valid[part]]
            result[part][is_valid[part]] = self._normalised(frames).to(result.dtype)
        return result.transpose(1, 2)

    def settle(self, reduce: Reduce = lambda sums: sums) -> None:
        """Take what training forwards have seen since the last call into the running statistics.

        Parameters
        ----------
        reduce : callable
            Adds a tensor up over all processes.
        """
        sums = reduce(self.pending)
        n_channels, n_groups = len(self.bias), sums[-1]
        if float(n_groups):
            self.n_settled += 1
            # the first batches are averaged evenly, or what the statistics began as would weigh
            weight = max(self.momentum, 1.0 / float(self.n_settled))
            self.running_mean.lerp_(sums[:n_channels] / n_groups, weight)
            self.running_var.lerp_(sums[n_channels:-1] / n_groups, weight)
        self.forget()

    def forget(self) -> None:
        """Drop what has been seen since the last `settle`."""
        self.pending.zero_()

    def _normalised(self, group: Tensor) -> Tensor:
        n_values = group.numel() // max(1, len(self.bias))
        if not self.training or n_values < 2:
            return nn.functional.batch_norm(
                group, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        mean, var = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        # with a momentum of 1 the statistics of this group are what it leaves behind
        result = nn.functional.batch_norm(
            group, mean, var, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps
        )
        self.pending += torch.cat([mean, var, mean.new_ones(1)])
        return result


def grouped_norms(*modules: nn.Module) -> list[GroupedBatchNorm]:
    """All of them within some modules."""
    return [
        each
        for module in modules
        for each in module.modules()
        if isinstance(each, GroupedBatchNorm)
    ]
