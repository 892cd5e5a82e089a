"""What every transform has in common: a config, weights, a kernel, ``forward``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

import torch
from torch import Tensor, nn

from specctl.basis import Basis, load_basis
from specctl.config import Feature, Precision, SpectrogramConfig
from specctl.dsp.decibel import LogScale, peaks
from specctl.eager import default_device, eager
from specctl.errors import KernelError, ParameterError
from specctl.kernels import registry
from specctl.kernels.bands import Bands
from specctl.kernels.base import Chain, Demand
from specctl.kernels.blocks import block_frames
from specctl.kernels.precision import product, without_autocast
from specctl.kernels.traced import is_followed, run_followed
from specctl.transforms.weighted import Weighted, common_dtype, without_memory
from specctl.words import counted


class Transform(Weighted):
    """Waveforms to spectrograms; the classes to use are its children.

    Parameters
    ----------
    kernel : str
        ``"auto"`` or a name from `specctl.kernels.registry.KERNELS`. One that runs on a GPU
        only, or a precision of which this is true, needs one that is there, and to be moved to
        it before it is called.
    precision : {"fp32", "tf32", "bf16"}
        Precision of matrix products. ``"fp32"`` means float32 whatever the process has
        switched on for others.
    trainable : sequence of str
        Which weights become parameters: ``"basis"`` (2 * n_freqs rows of n_fft), ``"window"``
        (n_fft), ``"frequencies"`` (n_freqs, the centre of each row in bins), where there are mel
        bands ``"mel"`` (n_mels, n_freqs), and with scale ``"pcen"`` its numbers ``"pcen"``
        (4, n_mels).
    init : str, Path or Basis
        Where the weights start: ``"fourier"``, ``"mel-fourier"`` (rows at n_freqs centres that
        are even on the mel scale), ``"random"`` (rows of noise), a basis file or what one holds,
        or a state dict of nnAudio or torchlibrosa that ``torch.save`` wrote.
    seed : int
        For ``init="random"``.
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
    BasisError
        If a basis file cannot be read.
    """

    features: ClassVar[tuple[Feature, ...]] = get_args(Feature)
    _problem = ""  # why the kernel cannot run where the weights are now

    def __init__(
        self,
        *,
        kernel: str = "auto",
        precision: Precision = "fp32",
        trainable: Sequence[str] = (),
        init: str | Path | Basis = "fourier",
        seed: int = 0,
        preset: str | None = None,
        **settings: Any,
    ) -> None:
        settings.setdefault("feature", self.features[0])
        config = SpectrogramConfig.resolve(preset, **settings)
        super().__init__()
        self._build(config, kernel, precision, trainable, init, seed)

    @classmethod
    def from_config(
        cls,
        config: SpectrogramConfig | Mapping[str, Any],
        *,
        kernel: str = "auto",
        precision: Precision = "fp32",
        trainable: Sequence[str] = (),
        init: str | Path | Basis = "fourier",
        seed: int = 0,
    ) -> Self:
        """Build from a resolved config, or from ``Store.config``.

        Raises
        ------
        ParameterError
            If it is no such config, or that of a store with a trained basis; there is
            ``from_basis(store.basis)`` for that.
        """
        if isinstance(config, SpectrogramConfig):
            # pydantic's `model_copy` changes values without checking them
            config = config.to_dict()
        if isinstance(config, Mapping):
            if config.get("basis") is not None:
                raise ParameterError(
                    "config is that of a store with a trained basis; use from_basis(store.basis)"
                )
            fields = SpectrogramConfig.model_fields.keys() & config.keys()
            checked = SpectrogramConfig.from_dict({name: config[name] for name in fields})
        else:
            raise ParameterError(f"config must be a SpectrogramConfig or a dict, got {config!r}")
        transform = cls.__new__(cls)
        nn.Module.__init__(transform)
        transform._build(checked, kernel, precision, trainable, init, seed)
        return transform

    @classmethod
    def from_basis(
        cls,
        basis: str | Path | Basis,
        *,
        kernel: str = "auto",
        precision: Precision = "fp32",
        trainable: Sequence[str] = (),
    ) -> Self:
        """Build from a basis file or what one holds, with its settings and its weights."""
        held = basis if isinstance(basis, Basis) else load_basis(basis)
        return cls.from_config(
            held.config, kernel=kernel, precision=precision, trainable=trainable, init=held
        )

    @eager
    def forward(self, waveform: Tensor) -> Tensor:
        """Spectrograms of a batch of waveforms.

        Parameters
        ----------
        waveform : Tensor, shape (..., samples)
            Floating point; computed in float32, or in float64 in a model of doubles.

        Returns
        -------
        Tensor, shape (..., n_bins, n_frames)
            ``n_frames`` is ``config.n_frames(samples)``. In a model of half precision rounded to
            its dtype, but for complex spectra.

        Raises
        ------
        ParameterError
            If the waveform is no tensor, not floating point, on another device or too short for
            one frame.
        KernelError
            If the kernel that was asked for cannot run where the transform was moved to.
        """
        self._check(waveform)
        chain, padding = self._chain(), (self.config.padding, self.config.pad_mode)
        batch = waveform.reshape(-1, waveform.shape[-1]).to(chain.window.dtype)
        with without_autocast(batch.device):
            if is_followed(batch, *chain.weights):
                self._check_memory(batch, chain)
                spec = run_followed(batch, *padding, chain)
            else:
                spec = self._choice.kernel.run_centred(batch, *padding, self._renewed(chain))
            spec = self.finish(spec, self.peak(spec))
        if self._result_dtype is not None and not spec.is_complex():
            spec = spec.to(self._result_dtype)
        return spec.reshape(*waveform.shape[:-1], *spec.shape[-2:])

    def run(self, padded: Tensor) -> Tensor:
        """Everything that looks at single frames: padded (batch, samples) to (batch, freq, time).

        What depends on an item's peak, and cepstral coefficients, are left to `finish`.
        """
        with without_autocast(padded.device):
            return self._choice.kernel.run(padded, self._renewed(self._chain()))

    def peak(self, spec: Tensor) -> Tensor | None:
        """The peak of each item, (batch, 1, 1), where the scale needs it."""
        return peaks(spec) if self._log is not None and self._log.needs_peak else None

    def finish(self, spec: Tensor, peak: Tensor | None) -> Tensor:
        """The rest: refer to the peak, clip, take cepstral coefficients, normalise energy."""
        return self.finish_stretch(spec, peak)[0]

    def finish_stretch(
        self, spec: Tensor, peak: Tensor | None, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """`finish` for a stretch of items; with ``before``, what the stretch before it gave.

        The second result is ``None`` where a stretch depends on nothing before it.
        """
        if self.pcen is not None:
            spec, after = self.pcen(spec, before)
            return spec, after
        if self._log is not None and peak is not None:
            spec = self._log.finish(spec, peak)
        if self.dct is not None:
            n_at_once = block_frames(self.config.n_fft, spec.device)
            spec = _cepstra(spec, self.dct.to(spec.dtype), n_at_once)
        return spec, None

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
        init: str | Path | Basis,
        seed: int,
    ) -> None:
        if config.feature not in self.features:
            raise ParameterError(
                f"feature of {type(self).__name__} must be {' or '.join(self.features)}, "
                f"got {config.feature!r}"
            )
        if precision not in get_args(Precision):
            raise ParameterError(
                f"precision must be {', '.join(get_args(Precision))}, got {precision!r}"
            )
        device = default_device()
        self._kernel = kernel
        self._precision: Precision = precision
        self._log = LogScale.from_config(config)
        self._bands: Bands | None = None
        with torch.device("cpu"):
            start = self._begin(config, trainable, init, seed)
            self._choose_first(device)
            self._hold(start, with_rows=self._choice.kernel.takes_trained_basis)
        if device.type != "cpu":
            self.to(device)

    def _choose_first(self, device: torch.device) -> None:
        """`_choose`; what runs on a GPU that is there alone is yet to be moved to it."""
        try:
            self._choose(device)
        except KernelError as error:
            if not torch.cuda.is_available():
                raise
            try:
                self._choose(torch.device("cuda"))
            except KernelError:
                raise error from None
            self._problem = str(error)

    def _choose(self, device: torch.device) -> None:
        is_fourier = self._is_fourier and "frequencies" not in self._trainable
        other = frozenset() if is_fourier else frozenset({"basis"})
        demand = Demand(self.config, device, self._precision, self._trainable | other)
        self._choice = registry.choose(self._kernel, demand)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # .to(device): bands are kept in a form of that device, a kernel may not run there
        super()._apply(fn, recurse)
        self._bands = None
        self._choose_again(self.window.device)
        return self

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], *args: Any) -> None:
        super()._load_from_state_dict(state_dict, *args)
        _, local_metadata, *_ = args
        if not local_metadata.get("assign_to_params_buffers") or self._has_memory():
            return
        # a checkpoint has no constants; they go where its weights are, if it has any of ours
        given = (value.device for value in state_dict.values() if isinstance(value, Tensor))
        devices = (device for device in given if device.type != "meta")
        device = next(devices, torch.device("cpu"))
        self._give_constants(device)
        self._bands = None
        self._choose_again(device)

    def _choose_again(self, device: torch.device) -> None:
        """Where the kernel cannot run there, `forward` says so: it may be moved on, or saved."""
        self._problem = ""
        try:
            self._choose(device)
        except KernelError as error:
            self._problem = str(error)

    def _chain(self) -> Chain:
        if self._problem and not self.window.is_meta:
            raise KernelError(self._problem)
        mel, bands, basis = self.mel, self._bands, self._current_basis()
        dtype = common_dtype(self.window, basis, mel)
        mel = None if mel is None else mel.to(dtype)
        if mel is not None and (mel.requires_grad or is_followed(mel)):
            # not kept: torch.func may have put something else in its place for this call
            bands = Bands(mel)
        elif mel is not None and (bands is None or bands.mel is not mel):
            bands = self._bands = Bands(mel)
        return Chain(
            n_fft=self.config.n_fft,
            hop_length=self.config.hop_length,
            window=self.window.to(dtype),
            basis=None if basis is None else basis.to(dtype),
            power=self.config.power,
            bands=bands,
            log=self._log,
            precision=self._precision,
        )

    def _renewed(self, chain: Chain) -> Chain:
        """The same with other bands where the tables of these are of numbers that are gone."""
        if chain.bands is None or chain.bands.is_current():
            return chain
        self._bands = Bands(chain.bands.mel)
        return replace(chain, bands=self._bands)

    def _check_memory(self, batch: Tensor, chain: Chain) -> None:
        """Refuse what torch multiplies all the same, with whatever lies in memory."""
        if not batch.is_meta and any(weight.is_meta for weight in chain.weights):
            raise without_memory()

    def _check(self, waveform: Tensor) -> None:
        if not isinstance(waveform, Tensor):
            raise ParameterError(
                f"waveform must be a torch.Tensor, got {type(waveform).__name__}; "
                "torch.from_numpy makes one of an array"
            )
        if not waveform.is_floating_point():
            raise ParameterError(f"waveform must be floating point, got {waveform.dtype}")
        here, there = waveform.device, self.window.device
        if here != there and "meta" not in (here.type, there.type):
            raise ParameterError(
                f"waveform must be on {there}, where the transform is, got {here}; "
                "move either with .to(device)"
            )
        if waveform.ndim < 1 or self.config.n_frames(waveform.shape[-1]) < 1:
            needed = 1 if self.config.center else self.config.n_fft
            raise ParameterError(
                f"waveform must have shape (..., samples) with at least "
                f"{counted(needed, 'sample')}, got {tuple(waveform.shape)}"
            )


def transform_for(
    config: SpectrogramConfig, *, kernel: str = "auto", precision: Precision = "fp32"
) -> Transform:
    """The transform of any feature, nothing of it trained."""
    return Transform.from_config(config, kernel=kernel, precision=precision)


def _cepstra(spec: Tensor, dct: Tensor, n_at_once: int) -> Tensor:
    """(batch, mel, time) to (batch, n_mfcc, time)."""
    if is_followed(spec, dct) or not len(spec):
        return torch.matmul(dct, spec)

    def product_with(item: Tensor) -> Tensor:
        # a copy begins where a vector register does, an item of a batch anywhere
        blocks = (block.T.clone() for block in torch.split(item, n_at_once, -1))
        return torch.cat([product(dct, block, "fp32") for block in blocks], dim=-1)

    # item by item, and in the blocks that tiles are cut at: the last bit of a product depends on
    # all that is multiplied at once
    return torch.stack([product_with(item) for item in spec])
