"""Small classifiers over spectrograms: (batch, freq, time) and valid frames to logits."""

import inspect
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from specctl.errors import ParameterError
from specctl.training.norm import GroupedBatchNorm

ModelName = Literal["linear", "cnn", "resnet18"]


class Linear(nn.Module):
    """Bands normalised, averaged over the valid frames, one linear layer.

    Parameters
    ----------
    n_bins, n_classes : int
    """

    def __init__(self, n_bins: int, n_classes: int) -> None:
        super().__init__()
        self.norm = GroupedBatchNorm(n_bins)
        self.out = nn.Linear(n_bins, n_classes)

    def forward(self, spec: Tensor, n_frames: Tensor) -> Tensor:
        """Logits, (batch, n_classes)."""
        is_valid = _valid(n_frames, spec.shape[-1], spec.device)
        total = self.norm(spec, is_valid).sum(2)
        logits: Tensor = self.out(total / is_valid.sum(1, keepdim=True).clamp(min=1))
        return logits


class ConvBlock(nn.Module):
    """Two convolutions of 3 x 3, each with normalisation and ReLU, then a mean over 2 x 2."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            GroupedBatchNorm(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            GroupedBatchNorm(n_out),
            nn.ReLU(),
            nn.AvgPool2d(2, ceil_mode=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, freq, time) to (batch, n_out, freq / 2, time / 2)."""
        result: Tensor = self.layers(x)
        return result


class Cnn(nn.Module):
    """Three blocks of convolutions after normalised bands, in the manner of PANNs.

    Parameters
    ----------
    n_bins, n_classes : int
    widths : sequence of int
        Channels of each block.

    References
    ----------
    Kong et al.: PANNs, large-scale pretrained audio neural networks for audio pattern
    recognition, IEEE/ACM TASLP 28, 2020.
    """

    def __init__(
        self, n_bins: int, n_classes: int, widths: tuple[int, ...] = (16, 32, 64)
    ) -> None:
        super().__init__()
        self.norm = GroupedBatchNorm(n_bins)
        channels = (1, *widths)
        self.blocks = nn.ModuleList(ConvBlock(*pair) for pair in pairwise(channels))
        self.out = nn.Linear(widths[-1], n_classes)

    def forward(self, spec: Tensor, n_frames: Tensor) -> Tensor:
        """Logits, (batch, n_classes)."""
        is_valid = _valid(n_frames, spec.shape[-1], spec.device)
        x = self.norm(spec, is_valid)[:, None]
        for block in self.blocks:
            x = block(x)
            n_frames = (n_frames + 1) // 2
        logits: Tensor = self.out(_pooled(x, n_frames))
        return logits


class ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3 around which the input is led past."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
            GroupedBatchNorm(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
            GroupedBatchNorm(n_out),
        )
        self.past: nn.Module = nn.Identity()
        if stride > 1 or n_in != n_out:
            self.past = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), GroupedBatchNorm(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, freq, time) to (batch, n_out, freq / stride, time / stride)."""
        return torch.relu(self.layers(x) + self.past(x))


class ResNet18(nn.Module):
    """The residual network of 18 layers with one input channel, after normalised bands.

    Parameters
    ----------
    n_bins, n_classes : int

    References
    ----------
    He et al.: Deep residual learning for image recognition, CVPR 2016.
    """

    def __init__(self, n_bins: int, n_classes: int) -> None:
        super().__init__()
        self.norm = GroupedBatchNorm(n_bins)
        self.stem = nn.Sequential(
            nn.Conv2d(1, 64, 7, 2, 3, bias=False),
            GroupedBatchNorm(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        blocks = []
        n_in = 64
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [ResidualBlock(n_in, width, stride), ResidualBlock(width, width, 1)]
            n_in = width
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(512, n_classes)

    def forward(self, spec: Tensor, n_frames: Tensor) -> Tensor:
        """Logits, (batch, n_classes)."""
        is_valid = _valid(n_frames, spec.shape[-1], spec.device)
        x = self.blocks(self.stem(self.norm(spec, is_valid)[:, None]))
        for _ in range(5):  # the stem halves twice, three blocks once
            n_frames = (n_frames + 1) // 2
        logits: Tensor = self.out(_pooled(x, n_frames))
        return logits


_MODELS: dict[str, type[Linear | Cnn | ResNet18]] = {
    "linear": Linear,
    "cnn": Cnn,
    "resnet18": ResNet18,
}


def build_model(name: str, n_bins: int, n_classes: int) -> nn.Module:
    """A model by name.

    Raises
    ------
    ParameterError
        If there is none of that name.
    """
    check_model(name)
    return _MODELS[name](n_bins, n_classes)


def check_model(name: str) -> None:
    """Refuse a name that no model has."""
    if name not in _MODELS:
        raise ParameterError(f"model must be {', '.join(get_args(ModelName))}, got {name!r}")


def takes_lengths(model: nn.Module) -> bool:
    """Whether a model's ``forward`` has a place for the numbers of valid frames."""
    parameters = inspect.signature(model.forward).parameters.values()
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in places for each in parameters) >= 2


def _valid(n_frames: Tensor, width: int, device: torch.device) -> Tensor:
    """(batch, width) bool."""
    return torch.arange(width, device=device) < n_frames.to(device)[:, None]


def _pooled(x: Tensor, n_frames: Tensor) -> Tensor:
    """Mean over frequency, then mean plus maximum over the valid frames: (batch, channels)."""
    x = x.mean(2)
    is_valid = _valid(n_frames, x.shape[-1], x.device)[:, None]
    mean = (x * is_valid).sum(2) / is_valid.sum(2).clamp(min=1)
    return mean + x.masked_fill(~is_valid, -torch.inf).amax(2)
