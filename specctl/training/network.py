"""Front end, augmentation and model as one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from specctl.config import Precision
from specctl.kernels.precision import matmul_precision
from specctl.training.augmenting import Augmentations
from specctl.training.batches import Batch
from specctl.training.models import takes_lengths
from specctl.training.norm import GROUP_SIZE, GroupedBatchNorm, grouped_norms
from specctl.transforms import Transform


class Network(nn.Module):
    """From waveforms to classes.

    Parameters
    ----------
    front_end : Transform
    model : nn.Module
        (batch, freq, time) to logits; where its ``forward`` takes a second argument, it gets
        the valid frames of each clip, (batch,).
    augmentations : Augmentations
    n_classes : int
    precision : {"fp32", "tf32", "bf16"}
        Of the model.
    """

    def __init__(
        self,
        front_end: Transform,
        model: nn.Module,
        augmentations: Augmentations,
        *,
        n_classes: int,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        self.front_end = front_end
        self.model = model
        self._n_classes = n_classes
        self._precision: Precision = precision
        self._takes_lengths = takes_lengths(model)
        self._augmentations = augmentations
        self.norms: list[GroupedBatchNorm] = grouped_norms(model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.front_end.window.device

    @property
    def n_together(self) -> int:
        """Clips in their order that change each other: a batch may be cut between them only."""
        if self.norms:
            return GROUP_SIZE
        return 1 if self._augmentations.mixup is None else 2

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of a batch, summed over its clips."""
        waveform, lengths = batch.waveform.to(self.device), batch.lengths
        targets = nn.functional.one_hot(batch.labels, self._n_classes).float().to(self.device)
        on_waveform, on_spectrogram, mixup = self._augmentations
        if on_waveform is not None:
            waveform, lengths = on_waveform.augment(waveform, lengths, batch.draws.fork(0))
        if mixup is not None:
            waveform, targets, mixed = mixup.augment(
                waveform, targets, lengths, batch.draws.fork(1)
            )
            lengths = lengths if mixed is None else mixed
        spec = self.front_end(waveform)
        n_frames = self._n_frames(lengths, spec.shape[-1])
        if on_spectrogram is not None:
            spec, n_frames = on_spectrogram.augment(spec, n_frames, batch.draws.fork(2))
        return nn.functional.cross_entropy(self._logits(spec, n_frames), targets, reduction="sum")

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Logits, (batch, n_classes), without augmentation."""
        spec = self.front_end(waveform.to(self.device))
        return self._logits(spec, self._n_frames(lengths, spec.shape[-1]))

    def front_end_parameters(self) -> list[nn.Parameter]:
        """The trained weights of the front end."""
        return [each for each in self.front_end.parameters() if each.requires_grad]

    def model_parameters(self) -> list[nn.Parameter]:
        """The trained weights of the model."""
        return [each for each in self.model.parameters() if each.requires_grad]

    def _logits(self, spec: Tensor, n_frames: Tensor) -> Tensor:
        with torch.autocast(
            spec.device.type, dtype=torch.bfloat16, enabled=self._precision == "bf16"
        ):
            logits = (
                self.model(spec, n_frames.to(spec.device))
                if self._takes_lengths
                else self.model(spec)
            )
        result: Tensor = logits.float()
        return result

    def _n_frames(self, lengths: Tensor, n_frames: int) -> Tensor:
        """Frames of which every clip has some; at least one."""
        config = self.front_end.config
        reach = lengths + 2 * config.padding - config.n_fft
        frames = reach.div(config.hop_length, rounding_mode="floor") + 1
        return frames.clamp(1, n_frames)


@contextmanager
def model_precision(precision: Precision) -> Iterator[None]:
    """Compute a model as exactly as ``precision`` says, whatever the process allows.

    cuDNN computes float32 convolutions and recurrences in TF32 unless told otherwise. The front
    end sets the precision of its own products by itself.
    """
    wanted: Precision = "fp32" if precision == "bf16" else precision
    with ExitStack() as undo:
        undo.enter_context(matmul_precision(wanted))
        cudnn: Any = torch.backends.cudnn
        if hasattr(cudnn, "conv"):
            for owner in (cudnn.conv, cudnn.rnn):
                undo.callback(setattr, owner, "fp32_precision", owner.fp32_precision)
                owner.fp32_precision = "tf32" if wanted == "tf32" else "ieee"
        else:
            undo.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
            cudnn.allow_tf32 = wanted == "tf32"
        yield


@contextmanager
def kept_random_state(device: torch.device) -> Iterator[None]:
    """Put the random generators of the process back as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield
