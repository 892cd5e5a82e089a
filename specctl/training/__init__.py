"""The job behind ``specctl train-basis``, callable from Python, silent.

- ``labels``, ``splits``: which files there are, what they are, which are learned from.
- ``clips``, ``batches``: decoded once, kept within a budget, cropped at random.
- ``models``, ``norm``, ``network``: what stands behind the front end.
- ``loop``, ``checkpoint``, ``processes``: one training, which can be interrupted and shared.
- ``arms``, ``job``, ``verdict``, ``drift``: fixed against trained, and what to make of it.
- ``page``: the report.
"""

from specctl.errors import Stopped
from specctl.training.clips import Clips
from specctl.training.drift import drift
from specctl.training.job import train_basis
from specctl.training.labels import Labelled, find_labelled
from specctl.training.models import Cnn, Linear, ResNet18
from specctl.training.options import Options
from specctl.training.settings import TrainSettings
from specctl.training.splits import Split, draw_split
from specctl.training.summary import Summary
from specctl.training.verdict import Verdict, judge

__all__ = [
    "Clips",
    "Cnn",
    "Labelled",
    "Linear",
    "Options",
    "ResNet18",
    "Split",
    "Stopped",
    "Summary",
    "TrainSettings",
    "Verdict",
    "draw_split",
    "drift",
    "find_labelled",
    "judge",
    "train_basis",
]
