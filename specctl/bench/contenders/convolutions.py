"""What convolves with Fourier kernels: nnAudio, nnAudio2 and torchlibrosa."""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from specctl.bench.contenders.base import (
    Contender,
    Prepared,
    as_given,
    rows_of_gradient,
    to_db,
    training_step,
)
from specctl.bench.workload import Workload


class Convolution(Contender):
    """Two ``conv1d`` at the precision that cuDNN is left with, or at float32."""

    works = ("mel", "stft", "train")

    def __init__(self, *, is_exact: bool = True) -> None:
        # cuDNN convolves in TF32 from Ampere on unless it is told not to
        self.precision = "fp32" if is_exact else "tf32"

    def unsupported(self, workload: Workload) -> str | None:
        """TF32 is a thing of GPUs."""
        if self.precision == "tf32" and workload.device == "cpu":
            return "tf32 runs on cuda only"
        return super().unsupported(workload)

    def prepare(self, workload: Workload) -> Prepared:
        """The layers, on their device."""
        prepared = self.build(workload)
        allowed = self.precision == "tf32"
        return Prepared(
            forward=_at(allowed, prepared.forward),
            values=prepared.values,
            definition=prepared.definition,
            step=None if prepared.step is None else _at(allowed, prepared.step),
            gradient=prepared.gradient,
            parameters=prepared.parameters,
        )

    def build(self, workload: Workload) -> Prepared:
        """The same, at whatever precision is switched on."""
        raise NotImplementedError


class NnAudio(Convolution):
    """nnAudio's `MelSpectrogram` and torch's logarithm, or its `STFT`."""

    name = "nnAudio"
    package: str = "nnAudio"
    modules = ("nnAudio.features",)
    install = "pip install nnAudio"
    equalised = (
        "pad_mode='constant' in place of reflection; a logarithm by torch; trained, it adds 1e-8 "
        "to the power"
    )

    def missing(self) -> str | None:
        """Asked without the line that it prints when it is imported."""
        os.environ.setdefault("NNAUDIO_DISABLE_CITATION_REMINDER", "1")
        return super().missing()

    def build(self, workload: Workload) -> Prepared:
        """Layers with nnAudio's own names for the settings."""
        features = import_module(f"{self.package}.features")
        config = workload.config()
        settings: dict[str, Any] = {
            "sr": config.sample_rate,
            "n_fft": config.n_fft,
            "hop_length": config.hop_length,
            "pad_mode": "constant",
            "verbose": False,
        }
        if workload.output != "log-mel":
            kind = {"complex": "Complex", "magnitude": "Magnitude"}[workload.output]
            layer = features.STFT(**settings, output_format=kind).to(workload.device)
            values = torch.view_as_complex if kind == "Complex" else as_given
            return Prepared(layer, values, config)
        layer = features.MelSpectrogram(
            **settings, n_mels=config.n_mels, trainable_STFT=workload.trains
        ).to(workload.device)

        def forward(waveform: Tensor) -> Tensor:
            return to_db(layer(waveform))

        if not workload.trains:
            return Prepared(forward, as_given, config)
        parameters = tuple(layer.parameters())
        return Prepared(
            forward=forward,
            values=as_given,
            definition=config,
            step=training_step(forward, parameters),
            gradient=lambda: rows_of_gradient(layer.stft.wcos, layer.stft.wsin, -1.0),
            parameters=parameters,
        )


class NnAudio2(NnAudio):
    """nnAudio's successor."""

    name = "nnAudio2"
    package = "nnAudio2"
    modules = ("nnAudio2.features",)
    install = "pip install nnaudio2"


class TorchLibrosa(Convolution):
    """torchlibrosa's `Spectrogram` and `LogmelFilterBank`, or its `STFT`."""

    name = "torchlibrosa"
    modules = ("torchlibrosa.stft",)
    install = "pip install torchlibrosa"
    equalised = (
        "pad_mode='constant' in place of reflection, top_db=None; trained with requires_grad_ "
        "by hand, since its freeze_parameters=False freezes the basis all the same"
    )

    def build(self, workload: Workload) -> Prepared:
        """Layers with torchlibrosa's own names for the settings."""
        from torchlibrosa import stft as layers

        config = workload.config()
        settings: dict[str, Any] = {
            "n_fft": config.n_fft,
            "hop_length": config.hop_length,
            "pad_mode": "constant",
        }
        if workload.output == "complex":
            return Prepared(layers.STFT(**settings).to(workload.device), _joined, config)
        power = 2.0 if workload.output == "log-mel" else 1.0
        spectrogram = layers.Spectrogram(**settings, power=power).to(workload.device)
        if workload.output == "magnitude":
            return Prepared(spectrogram, _time_last, config)
        log_mel = layers.LogmelFilterBank(
            sr=config.sample_rate,
            n_fft=config.n_fft,
            n_mels=config.n_mels,
            fmin=config.fmin,
            fmax=config.fmax,
            top_db=None,
        ).to(workload.device)
        model = nn.Sequential(spectrogram, log_mel)
        if not workload.trains:
            return Prepared(model, _time_last, config)
        real, imaginary = spectrogram.stft.conv_real, spectrogram.stft.conv_imag
        parameters = tuple(conv.weight.requires_grad_() for conv in (real, imaginary))
        return Prepared(
            forward=model,
            values=_time_last,
            definition=config,
            step=training_step(model, parameters),
            gradient=lambda: rows_of_gradient(real.weight, imaginary.weight, 1.0),
            parameters=parameters,
        )


def _joined(output: tuple[Tensor, Tensor]) -> Tensor:
    return _time_last(torch.complex(*output))


def _time_last(output: Tensor) -> Tensor:
    """(batch, 1, time, freq) to (batch, freq, time)."""
    return output[:, 0].transpose(-1, -2)


def _at(allow_tf32: bool, call: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """``call`` with cuDNN's TF32 switched on or off around it."""
    if not torch.cuda.is_available():
        return call

    def called(waveform: Tensor) -> Any:
        with torch.backends.cudnn.flags(
            enabled=True,
            benchmark=torch.backends.cudnn.benchmark,
            deterministic=torch.backends.cudnn.deterministic,
            allow_tf32=allow_tf32,
        ):
            return call(waveform)

    return called
