"""What is measured where it happens to be installed: torchaudio, auvux-dsp, flashmel, lhotse."""

from typing import Any

import torch
from torch import Tensor, nn

from specctl.bench.contenders.base import Contender, Prepared, as_given, to_db
from specctl.bench.workload import Workload


class Torchaudio(Contender):
    """`torchaudio.transforms.MelSpectrogram` and torch's logarithm, or `Spectrogram`."""

    name = "torchaudio"
    modules = ("torchaudio",)
    install = "pip install torchaudio, of the same build as torch"
    equalised = "pad_mode='constant', norm='slaney', mel_scale='slaney' in place of its defaults"
    is_optional = True

    def prepare(self, workload: Workload) -> Prepared:
        """The transform, on its device."""
        from torchaudio import transforms

        config = workload.config()
        settings: dict[str, Any] = {
            "n_fft": config.n_fft,
            "hop_length": config.hop_length,
            "pad_mode": "constant",
        }
        if workload.output != "log-mel":
            power = None if workload.output == "complex" else 1.0
            layer = transforms.Spectrogram(**settings, power=power).to(workload.device)
            return Prepared(layer, as_given, config)
        layer = transforms.MelSpectrogram(**settings, **_mel_settings(workload)).to(
            workload.device
        )
        return Prepared(_in_db(layer), as_given, config)


class Flashmel(Contender):
    """flashmel's fused CUDA kernel and torch's logarithm; inference only."""

    name = "flashmel"
    modules = ("flashmel",)
    install = "pip install flashmel"
    equalised = "pad_mode='constant', norm='slaney', mel_scale='slaney' in place of its defaults"
    works = ("mel",)
    devices = ("cuda",)
    is_optional = True

    def prepare(self, workload: Workload) -> Prepared:
        """The transform, on its device; it compiles at the first call."""
        from flashmel import MelSpectrogram

        config = workload.config()
        layer = MelSpectrogram(
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            pad_mode="constant",
            **_mel_settings(workload),
        ).to(workload.device)
        return Prepared(_in_db(layer), as_given, config)


class Auvux(Contender):
    """auvux-dsp's native transforms."""

    name = "auvux-dsp"
    modules = ("auvux.dsp",)
    install = "pip install --pre auvux-dsp"
    equalised = "zero padding, periodic Hann, Slaney bands and norm are its defaults"
    allocator = "unseen"
    is_optional = True

    def prepare(self, workload: Workload) -> Prepared:
        """The transform object; it takes tensors where they lie."""
        from auvux import dsp

        config = workload.config()
        settings: dict[str, Any] = {
            "sr": config.sample_rate,
            "n_fft": config.n_fft,
            "hop_length": config.hop_length,
            "pad_mode": "constant",
            "backend": "cpu" if workload.device == "cpu" else "gpu",
        }
        if workload.output == "log-mel":
            transform = dsp.MelSpectrogram(**settings, n_mels=config.n_mels, output="db")
        else:
            transform = dsp.STFT(**settings, output=workload.output)
        if workload.device == "cpu":
            return Prepared(lambda waveform: transform(waveform.numpy()), torch.from_numpy, config)
        return Prepared(transform, as_given, config)


class Lhotse(Contender):
    """lhotse's `LibrosaFbank`, clip by clip, as its guide runs it."""

    name = "lhotse"
    modules = ("lhotse.features.librosa_fbank",)
    install = "pip install lhotse"
    equalised = (
        "fmin=0, fmax=half the rate; log10 of the magnitude and padding by reflection cannot be "
        "changed, so its error is against that definition"
    )
    works = ("mel",)
    devices = ("cpu",)
    allocator = "numpy"
    is_optional = True

    def prepare(self, workload: Workload) -> Prepared:
        """The extractor."""
        from lhotse.features.librosa_fbank import LibrosaFbank, LibrosaFbankConfig
        from lhotse.utils import EPSILON

        config = workload.config(power=1.0, pad_mode="reflect", scale="log10", amin=EPSILON)
        extractor = LibrosaFbank(
            LibrosaFbankConfig(
                sampling_rate=config.sample_rate,
                fft_size=config.n_fft,
                hop_size=config.hop_length,
                num_mel_bins=config.n_mels,
                fmin=0,
                fmax=config.fmax,
            )
        )

        def forward(waveform: Tensor) -> list[Any]:
            return [extractor.extract(clip.numpy(), config.sample_rate) for clip in waveform]

        return Prepared(forward, _stacked, config, missing_frames=1)


def _mel_settings(workload: Workload) -> dict[str, Any]:
    config = workload.config()
    return {
        "sample_rate": config.sample_rate,
        "n_mels": config.n_mels,
        "f_min": config.fmin,
        "f_max": config.fmax,
        "power": 2.0,
        "norm": "slaney",
        "mel_scale": "slaney",
    }


def _in_db(layer: nn.Module) -> Any:
    return lambda waveform: to_db(layer(waveform))


def _stacked(features: list[Any]) -> Tensor:
    """Arrays (time, freq) to a tensor (batch, freq, time)."""
    return torch.stack([torch.from_numpy(item).T for item in features])
