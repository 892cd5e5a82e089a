"""How good a network is: loss, accuracy, F1, and what is taken for what."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from specctl.errors import TrainingError
from specctl.training.batches import evaluation_crops
from specctl.training.clips import Clips
from specctl.training.network import Network
from specctl.training.processes import Processes


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures over some clips.

    Attributes
    ----------
    loss : float
        Mean cross-entropy.
    accuracy : float
        In [0, 1].
    macro_f1 : float
        Mean of the F1 of all classes that occur or are predicted.
    confusion : list of list of int
        Row: true class; column: predicted class.
    """

    loss: float
    accuracy: float
    macro_f1: float
    confusion: list[list[int]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "loss": self.loss,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "confusion": self.confusion,
        }


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Scores of logits (clips, n_classes) against labels (clips,)."""
    n_classes = logits.shape[1]
    predicted = logits.argmax(1)
    counts = torch.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    confusion = counts.reshape(n_classes, n_classes)
    right = confusion.diagonal().double()
    total = (confusion.sum(0) + confusion.sum(1)).double()
    f1 = (2 * right / total)[total > 0]
    return Scores(
        loss=float(nn.functional.cross_entropy(logits.double(), labels)),
        accuracy=float(right.sum() / len(labels)),
        macro_f1=float(f1.mean()),
        confusion=confusion.tolist(),
    )


def check_finite(scores: Scores, where: str) -> None:
    """Refuse the scores of a network that has diverged.

    Raises
    ------
    TrainingError
        If the loss is no finite number.
    """
    if not math.isfinite(scores.loss):
        raise TrainingError(
            f"the loss is {scores.loss} on the {where}; try a lower lr or basis_lr"
        )


@torch.no_grad()
def evaluate(
    network: Network,
    clips: Clips,
    chosen: Sequence[int],
    labels: Sequence[int],
    *,
    crop_length: int,
    most_crops: int,
    n_classes: int,
    processes: Processes,
) -> Scores:
    """Scores over whole clips: the mean of the logits of crops that cover a clip.

    Parameters
    ----------
    most_crops : int
        So many crops at most go through the network at once.
    """
    was_training = network.training
    network.eval()
    mine = torch.arange(len(chosen)).tensor_split(processes.n_ranks)[processes.rank].tolist()
    logits = torch.zeros(len(chosen), n_classes)
    pending: list[tuple[int, Tensor, Tensor]] = []
    for position in mine:
        waveform, lengths = evaluation_crops(clips, chosen[position], crop_length)
        n_pending = sum(len(each[1]) for each in pending)
        if pending and n_pending + len(waveform) > most_crops:
            _run(network, pending, logits, most_crops)
        pending.append((position, waveform, lengths))
    _run(network, pending, logits, most_crops)
    network.train(was_training)
    logits = processes.sum(logits.to(network.device)).cpu()
    return score(logits, torch.tensor([labels[i] for i in chosen]))


def _run(
    network: Network, pending: list[tuple[int, Tensor, Tensor]], logits: Tensor, most_crops: int
) -> None:
    if not pending:
        return
    waveforms = torch.split(torch.cat([each[1] for each in pending]), most_crops)
    lengths = torch.split(torch.cat([each[2] for each in pending]), most_crops)
    # more than one turn only where those of one clip are too many
    results = torch.cat([network(*turn).cpu() for turn in zip(waveforms, lengths, strict=True)])
    of_clips = torch.split(results, [len(each[1]) for each in pending])
    for (position, _, _), result in zip(pending, of_clips, strict=True):
        logits[position] = result.mean(0)
    pending.clear()
