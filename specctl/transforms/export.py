"""A transform as an ONNX graph: padding, one convolution, power, bands, logarithm."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from specctl.basis import Basis
from specctl.basis.file import check_absent, write_whole
from specctl.config import PadMode, SpectrogramConfig
from specctl.dsp.decibel import LogScale, peaks
from specctl.dsp.mel import dct_matrix
from specctl.durable import Kind
from specctl.errors import BasisError, ParameterError

_OLDEST = "2.8"
"""torch 2.7 refuses to leave the sizes open, and 2.6 fixes them without a word."""

_PAD_MODES: dict[PadMode, str] = {
    "constant": "constant",
    "reflect": "reflect",
    "edge": "replicate",
}

_NEXT_FIELDS = tuple(bytes([tag]) for tag in b"\x12\x1a\x22\x28\x32\x3a\x42")
_GRAPH = Kind(
    "ONNX graph",
    "ONNX graphs",
    # a number below 128, the version, then any of the fields that may come next
    lambda start: start[:1] == b"\x08" and start[1:2] < b"\x80" and start[2:3] in _NEXT_FIELDS,
)


class FrontEnd(nn.Module):
    """The chain of a config by operations that every runtime has.

    Parameters
    ----------
    basis : Basis

    Raises
    ------
    ParameterError
        With scale ``"pcen"``, whose running mean is no such operation.
    """

    rows: Tensor  # (2 * n_freqs, 1, n_fft)
    mel: Tensor | None
    dct: Tensor | None

    def __init__(self, basis: Basis) -> None:
        super().__init__()
        config = basis.config
        if config.scale == "pcen":
            raise ParameterError("scale must not be 'pcen' in an onnx graph; export without it")
        self.config: SpectrogramConfig = config
        self._log = LogScale.from_config(config)
        self.register_buffer("rows", torch.from_numpy(basis.basis)[:, None].clone())
        self.register_buffer("mel", None if basis.mel is None else torch.from_numpy(basis.mel))
        self.register_buffer("dct", dct_matrix(config) if config.n_mfcc is not None else None)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) to (batch, n_bins, n_frames), complex with a last axis of 2."""
        config = self.config
        padding = (config.padding, config.padding)
        padded = F.pad(waveform[:, None], padding, mode=_PAD_MODES[config.pad_mode])
        parts = F.conv1d(padded, self.rows, stride=config.hop_length)
        real, imaginary = parts[:, : config.n_freqs], parts[:, config.n_freqs :]
        if config.power is None:
            return torch.stack([real, imaginary], dim=-1)
        spec = real.square() + imaginary.square()
        if config.power != 2:
            spec = spec.sqrt() if config.power == 1 else spec.pow(config.power / 2)
        if self.mel is not None:
            spec = torch.matmul(self.mel, spec)
        if self._log is not None:
            spec = self._log.apply(spec)
            spec = self._log.finish(spec, peaks(spec)) if self._log.needs_peak else spec
        return spec if self.dct is None else torch.matmul(self.dct, spec)


def export_onnx(path: Path, basis: Basis, *, overwrite: bool = False) -> None:
    """Write an ONNX graph from ``waveform`` (batch, samples) to ``spectrogram``.

    Batch and length may be any, as long as ``pad_mode="reflect"`` has more samples than it pads.

    Raises
    ------
    ParameterError
        If the chain cannot be written so.
    BasisError
        If the file exists and ``overwrite`` is not set or it is no ONNX graph, or it cannot be
        written, or the packages ``onnx`` and ``onnxscript`` are missing, or torch is older than
        2.8.
    """
    front_end = FrontEnd(basis).eval()
    check_absent(path, _GRAPH, overwrite=overwrite)
    if TorchVersion(torch.__version__) < _OLDEST:
        raise BasisError(
            f"cannot write {path}: torch {torch.__version__} makes no ONNX graph of any length; "
            f"it takes {_OLDEST} or newer"
        )
    example = torch.zeros(2, 3 * basis.config.n_fft, dtype=torch.float32)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("samples")}
    try:
        with _silence():
            program = torch.onnx.export(
                front_end,
                (example,),
                dynamo=True,
                input_names=["waveform"],
                output_names=["spectrogram"],
                dynamic_shapes={"waveform": sizes},
                verbose=False,
            )
            if program is None:
                raise BasisError(f"cannot write {path}: no graph came out")
            data = program.model_proto.SerializeToString()
    except ImportError as error:
        raise BasisError(
            f"cannot write {path}: {error.name} is missing; pip install 'specctl-audio[onnx]'"
        ) from error
    write_whole(path, data)


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter tells of packages that are not there and of its own old calls."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(before)
