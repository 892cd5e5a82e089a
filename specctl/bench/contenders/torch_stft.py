"""``torch.stft`` in the pipeline that everybody writes, as it is and compiled."""

from collections.abc import Callable

import torch
from torch import Tensor

from specctl.bench.contenders.base import Contender, Prepared, as_given, to_db
from specctl.bench.workload import Workload
from specctl.dsp.mel import mel_filterbank
from specctl.dsp.windows import window


class TorchStft(Contender):
    """`torch.stft`, squared magnitude, product with the mel bands, logarithm."""

    name = "torch.stft"
    modules = ("torch",)
    equalised = "pad_mode='constant', periodic Hann, librosa's Slaney bands, power 2"

    def prepare(self, workload: Workload) -> Prepared:
        """Window and bands on the device."""
        return Prepared(pipeline(workload), as_given, workload.config())


class CompiledTorchStft(TorchStft):
    """The same under `torch.compile`."""

    name = "torch.compile"
    equalised = f"{TorchStft.equalised}; the pipeline of torch.stft, compiled for this shape"

    def prepare(self, workload: Workload) -> Prepared:
        """A compiler of its own for each shape; it runs at the first call."""
        torch.compiler.reset()
        compiled = torch.compile(pipeline(workload), dynamic=False)
        # under inference mode the compiler would be asked again for the memory run
        return Prepared(compiled, as_given, workload.config())


def pipeline(workload: Workload) -> Callable[[Tensor], Tensor]:
    """Waveforms (batch, samples) to (batch, freq, time)."""
    config = workload.config()
    taper = window(config).float().to(workload.device)
    bands = mel_filterbank(config).to(workload.device) if config.n_mels is not None else taper

    def spectrum(waveform: Tensor) -> Tensor:
        return torch.stft(
            waveform,
            config.n_fft,
            config.hop_length,
            window=taper,
            pad_mode="constant",
            return_complex=True,
        )

    def log_mel(waveform: Tensor) -> Tensor:
        return to_db(torch.matmul(bands, spectrum(waveform).abs().square()))

    def magnitude(waveform: Tensor) -> Tensor:
        return spectrum(waveform).abs()

    return {"log-mel": log_mel, "complex": spectrum, "magnitude": magnitude}[workload.output]
