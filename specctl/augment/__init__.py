"""Augmentation of whole batches on their device, each clip with parameters of its own.

Every augmentation is an ``nn.Module`` on (batch, samples) or (batch, freq, time) that changes
something in training mode only. The numbers that a clip draws depend on its seed alone, not on
its neighbours, the device or the size of the batch. What it becomes is then the same, too: bit
for bit on a CPU with as many threads of torch, up to rounding elsewhere. Only ``Mixup`` has
neighbours to mix. Names and defaults are those of audiomentations, torchaudio and the
SpecAugment paper.

Examples
--------
>>> import torch
>>> from specctl import augment
>>> change = augment.Compose([augment.Gain(p=1.0), augment.GaussianNoise(p=1.0)])
>>> generator = torch.Generator().manual_seed(0)
>>> change(torch.zeros(4, 16000), generator=generator).shape
torch.Size([4, 16000])
"""

from specctl.augment.base import Augmentation, Compose
from specctl.augment.draws import Draws
from specctl.augment.foreign import FromAudiomentations
from specctl.augment.masks import FrequencyMasking, SpecAugment, TimeMasking
from specctl.augment.mixup import Mixup
from specctl.augment.vocoder import PitchShift, TimeStretch
from specctl.augment.waveform import Gain, GaussianNoise, Shift

__all__ = [
    "Augmentation",
    "Compose",
    "Draws",
    "FrequencyMasking",
    "FromAudiomentations",
    "Gain",
    "GaussianNoise",
    "Mixup",
    "PitchShift",
    "Shift",
    "SpecAugment",
    "TimeMasking",
    "TimeStretch",
]
