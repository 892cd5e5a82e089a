"""What works on numpy arrays: librosa and scipy."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from specctl.bench.contenders.base import Contender, Prepared
from specctl.bench.workload import Workload
from specctl.dsp.mel import mel_filterbank
from specctl.dsp.windows import window


class Librosa(Contender):
    """`librosa.feature.melspectrogram` and `power_to_db`, or `librosa.stft`."""

    name = "librosa"
    modules = ("librosa",)
    install = "pip install librosa"
    equalised = "top_db=None; zero padding, periodic Hann, Slaney bands and norm are its defaults"
    devices = ("cpu",)
    allocator = "numpy"

    def prepare(self, workload: Workload) -> Prepared:
        """librosa keeps its bands and windows in a cache, filled by the first call."""
        import librosa

        config = workload.config()
        lengths: dict[str, Any] = {"n_fft": config.n_fft, "hop_length": config.hop_length}

        def log_mel(waveform: Tensor) -> Any:
            mel = librosa.feature.melspectrogram(
                y=waveform.numpy(),
                sr=config.sample_rate,
                n_mels=config.n_mels,
                pad_mode="constant",
                **lengths,
            )
            return librosa.power_to_db(mel, top_db=None)

        def spectrum(waveform: Tensor) -> Any:
            return librosa.stft(waveform.numpy(), pad_mode="constant", **lengths)

        def magnitude(waveform: Tensor) -> Any:
            return np.abs(spectrum(waveform))

        forward = {"log-mel": log_mel, "complex": spectrum, "magnitude": magnitude}
        return Prepared(forward[workload.output], torch.from_numpy, config)


class Scipy(Contender):
    """`scipy.signal.ShortTimeFFT`, with a product and a logarithm by numpy where mel is wanted."""

    name = "scipy"
    modules = ("scipy.signal",)
    install = "pip install scipy"
    equalised = "padding='zeros', periodic Hann, frames centred at t * hop; librosa's Slaney bands"
    devices = ("cpu",)
    allocator = "numpy"
    is_optional = True

    def prepare(self, workload: Workload) -> Prepared:
        """The transform object and the bands."""
        from scipy.signal import ShortTimeFFT

        config = workload.config()
        transform = ShortTimeFFT(
            window(config).float().numpy(),
            config.hop_length,
            config.sample_rate,
            fft_mode="onesided",
            phase_shift=None,
        )
        last = config.n_frames(workload.n_samples)
        bands = mel_filterbank(config).numpy() if config.n_mels is not None else None

        def spectrum(waveform: Tensor) -> Any:
            return transform.stft(waveform.numpy(), p0=0, p1=last, padding="zeros")

        def magnitude(waveform: Tensor) -> Any:
            return np.abs(spectrum(waveform))

        def log_mel(waveform: Tensor) -> Any:
            power = bands @ np.square(magnitude(waveform))
            return 10.0 * np.log10(np.maximum(power, 1e-10))

        forward = {"log-mel": log_mel, "complex": spectrum, "magnitude": magnitude}
        return Prepared(forward[workload.output], torch.from_numpy, config)
