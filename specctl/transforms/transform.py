"""What every transform has in common: a config, weights, a kernel, ``forward``."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self, get_args

import torch
from torch import Tensor, nn

from specctl.config import Feature, Precision, SpectrogramConfig
from specctl.dsp.basis import fourier_basis, unwindowed_basis
from specctl.dsp.decibel import LogScale, peaks
from specctl.dsp.mel import dct_matrix, mel_filterbank
from specctl.dsp.windows import window
from specctl.errors import ParameterError
from specctl.kernels import registry
from specctl.kernels.bands import Bands
from specctl.kernels.base import Chain, Demand
from specctl.kernels.precision import product


class Transform(nn.Module):
    """Waveforms to spectrograms; the classes to use are its children.

    Parameters
    ----------
    kernel : str
        ``"auto"`` or a name from `specctl.kernels.registry.KERNELS`.
    precision : {"fp32", "tf32", "bf16"}
        Precision of matrix products. ``"fp32"`` means float32 whatever the process has
        switched on for others.
    trainable : sequence of str
        Which weights become parameters: ``"basis"`` (2 * n_freqs rows of n_fft), ``"window"``
        (n_fft) and, where there are mel bands, ``"mel"`` (n_mels, n_freqs).
    preset : str, optional
        Name of a preset; keywords win over it.
    **settings
        Fields of `SpectrogramConfig`.

    Raises
    ------
    ParameterError
        For a setting out of range or without effect, or a name in ``trainable`` that would
        train nothing.
    KernelError
        If the kernel cannot do what is asked.
    """

    features: ClassVar[tuple[Feature, ...]] = get_args(Feature)
    config: SpectrogramConfig
    window: Tensor  # (n_fft,)
    mel: Tensor | None  # (n_mels, n_freqs)
    dct: Tensor | None  # (n_mfcc, n_mels)
    basis: Tensor | None  # (2 * n_freqs, n_fft)

    def __init__(
        self,
        *,
        kernel: str = "auto",
        precision: Precision = "fp32",
        trainable: Sequence[str] = (),
        preset: str | None = None,
        **settings: Any,
    ) -> None:
        settings.setdefault("feature", self.features[0])
        config = SpectrogramConfig.resolve(preset, **settings)
        super().__init__()
        self._build(config, kernel, precision, trainable)

    @classmethod
    def from_config(
        cls,
        config: SpectrogramConfig,
        *,
        kernel: str = "auto",
        precision: Precision = "fp32",
        trainable: Sequence[str] = (),
    ) -> Self:
        """Build from a resolved config, for example one that a store holds."""
        transform = cls.__new__(cls)
        nn.Module.__init__(transform)
        transform._build(config, kernel, precision, trainable)
        return transform

    def forward(self, waveform: Tensor) -> Tensor:
        """Spectrograms of a batch of waveforms.

        Parameters
        ----------
        waveform : Tensor, shape (..., samples)
            Floating point; computed in the dtype of the module's weights.

        Returns
        -------
        Tensor, shape (..., n_bins, n_frames)
            ``n_frames`` is ``config.n_frames(samples)``.

        Raises
        ------
        ParameterError
            If the waveform is not floating point or too short for one frame.
        """
        self._check(waveform)
        batch = waveform.reshape(-1, waveform.shape[-1]).to(self.window.dtype)
        with torch.autocast(batch.device.type, enabled=False):
            spec = self._choice.kernel.run_centred(
                batch, self.config.padding, self.config.pad_mode, self._chain()
            )
        spec = self.finish(spec, self.peak(spec))
        return spec.reshape(*waveform.shape[:-1], *spec.shape[-2:])

    def run(self, padded: Tensor) -> Tensor:
        """Everything that looks at single frames: padded (batch, samples) to (batch, freq, time).

        What depends on an item's peak, and cepstral coefficients, are left to `finish`.
        """
        with torch.autocast(padded.device.type, enabled=False):
            return self._choice.kernel.run(padded, self._chain())

    def peak(self, spec: Tensor) -> Tensor | None:
        """The peak of each item, (batch, 1, 1), where the scale needs it."""
        return peaks(spec) if self._log is not None and self._log.needs_peak else None

    def finish(self, spec: Tensor, peak: Tensor | None) -> Tensor:
        """The rest: refer to the peak, clip, take cepstral coefficients."""
        if self._log is not None and peak is not None:
            spec = self._log.finish(spec, peak)
        return spec if self.dct is None else _cepstra(spec, self.dct)

    @property
    def kernel_name(self) -> str:
        """Name of the kernel in use."""
        return self._choice.kernel.name

    @property
    def kernel_reason(self) -> str:
        """Why that kernel was taken."""
        return self._choice.reason

    def extra_repr(self) -> str:
        """The settings that tell one transform from another."""
        config = self.config
        return (
            f"{config.feature}, sample_rate={config.sample_rate}, n_fft={config.n_fft}, "
            f"hop_length={config.hop_length}, n_bins={config.n_bins}, scale={config.scale}, "
            f"kernel={self.kernel_name}"
        )

    def _build(
        self,
        config: SpectrogramConfig,
        kernel: str,
        precision: Precision,
        trainable: Sequence[str],
    ) -> None:
        if config.feature not in self.features:
            raise ParameterError(
                f"feature of {type(self).__name__} must be {' or '.join(self.features)}, "
                f"got {config.feature!r}"
            )
        self.config = config
        self._kernel = kernel
        self._precision: Precision = precision
        self._trainable = _checked_names(trainable, config)
        self._log = LogScale.from_config(config)
        self._bands: Bands | None = None
        device = torch.get_default_device()
        self._choose(device)
        self._add("window", window(config).to(torch.float32))
        self._add("mel", mel_filterbank(config) if config.n_mels is not None else None)
        self._add("dct", dct_matrix(config) if config.n_mfcc is not None else None)
        self._add("basis", self._initial_basis())

    def _initial_basis(self) -> Tensor | None:
        if not self._choice.kernel.takes_trained_basis:
            return None
        if "window" in self._trainable:
            return unwindowed_basis(self.config).to(torch.float32)
        return fourier_basis(self.config)

    def _choose(self, device: torch.device) -> None:
        demand = Demand(self.config, device, self._precision, self._trainable)
        self._choice = registry.choose(self._kernel, demand)

    def _add(self, name: str, value: Tensor | None) -> None:
        """A parameter where it is trained, else a constant that checkpoints need not carry."""
        if name in self._trainable and value is not None:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value, persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # .to(device): bands are kept in a form of that device, a kernel may not run there
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._bands = None
        self._choose(self.window.device)
        return self

    def _chain(self) -> Chain:
        if self.mel is not None and (self._bands is None or "mel" in self._trainable):
            self._bands = Bands(self.mel)
        basis = self.basis
        if basis is not None and "window" in self._trainable:
            basis = basis * self.window
        return Chain(
            n_fft=self.config.n_fft,
            hop_length=self.config.hop_length,
            window=self.window,
            basis=basis,
            power=self.config.power,
            bands=self._bands,
            log=self._log,
            precision=self._precision,
        )

    def _check(self, waveform: Tensor) -> None:
        if not waveform.is_floating_point():
            raise ParameterError(f"waveform must be floating point, got {waveform.dtype}")
        if waveform.ndim < 1 or self.config.n_frames(waveform.shape[-1]) < 1:
            needed = 1 if self.config.center else self.config.n_fft
            raise ParameterError(
                f"waveform must have shape (..., samples) with at least {needed} samples, "
                f"got {tuple(waveform.shape)}"
            )


def transform_for(
    config: SpectrogramConfig, *, kernel: str = "auto", precision: Precision = "fp32"
) -> Transform:
    """The transform of any feature, nothing of it trained."""
    return Transform.from_config(config, kernel=kernel, precision=precision)


def _cepstra(spec: Tensor, dct: Tensor) -> Tensor:
    """(batch, mel, time) to (batch, n_mfcc, time)."""
    # item by item: the last bit of a product depends on all that is multiplied at once
    items = [product(dct, item.T, "fp32") for item in spec]
    return torch.stack(items) if items else spec.new_empty(0, len(dct), spec.shape[-1])


def _checked_names(trainable: Sequence[str], config: SpectrogramConfig) -> frozenset[str]:
    if isinstance(trainable, str):
        trainable = (trainable,)
    able = ("basis", "window") if config.n_mels is None else ("basis", "window", "mel")
    for name in trainable:
        if name not in able:
            raise ParameterError(
                f"trainable must name {', '.join(able)} with feature {config.feature!r}, "
                f"{name!r} would train nothing"
            )
    if {"basis", "window"} <= set(trainable):
        raise ParameterError(
            "trainable must name basis or window, not both; a trained basis holds its window"
        )
    return frozenset(trainable)
