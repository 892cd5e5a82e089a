"""Transforms: ``nn.Module`` s that people put in their own models.

Each is built from keywords or from a config, takes ``(..., samples)`` and gives
``(..., freq, time)``, and is differentiable in the waveform and in whatever is trained.
"""

from specctl.transforms.mel import MFCC, MelSpectrogram
from specctl.transforms.spectrogram import Spectrogram
from specctl.transforms.transform import Transform, transform_for

__all__ = ["MFCC", "MelSpectrogram", "Spectrogram", "Transform", "transform_for"]
