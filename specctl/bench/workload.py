"""What is computed: one workload is one setting of one work on one batch of audio."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from specctl.config import SpectrogramConfig
from specctl.errors import ParameterError

Work = Literal["mel", "stft", "train", "convert"]
Output = Literal["log-mel", "complex", "magnitude"]

WORKS: dict[Work, tuple[Output, ...]] = {
    "mel": ("log-mel",),
    "stft": ("complex", "magnitude"),
    "train": ("log-mel",),
    "convert": ("log-mel",),
}
"""Each work and the outputs that it is timed with."""

_MAX_SECONDS = 3600.0
"""A clip is in memory as a whole, in float64 and with its spectra where errors are measured."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One setting of one work.

    ``mel`` and ``stft`` transform ``batch`` clips of ``seconds`` each; ``train`` goes forward and
    backward through them and takes a step of the basis; ``convert`` turns ``batch`` files into a
    store. ``threads`` is how many cores may compute.
    """

    work: Work
    output: Output
    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int | None
    batch: int
    seconds: float
    device: str
    threads: int

    def __post_init__(self) -> None:
        for name in ("batch", "seconds", "threads"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name} must be positive, got {getattr(self, name)}")
        if self.seconds > _MAX_SECONDS:
            raise ParameterError(
                f"seconds must be at most {_MAX_SECONDS:g}, got {self.seconds:.10g}"
            )
        if self.output not in WORKS[self.work]:
            raise ParameterError(
                f"output of work {self.work!r} must be {' or '.join(WORKS[self.work])}, "
                f"got {self.output!r}"
            )
        if self.config().n_frames(self.n_samples) < 1:
            raise ParameterError(
                f"seconds must give at least one frame of n_fft={self.n_fft}, got {self.seconds:g}"
            )

    def config(self, **changes: Any) -> SpectrogramConfig:
        """The settings of the transform, equal for all contenders but for ``changes``.

        Raises
        ------
        ParameterError
            For a setting out of range.
        """
        settings: dict[str, Any] = {
            "sample_rate": self.sample_rate,
            "n_fft": self.n_fft,
            "hop_length": self.hop_length,
            "feature": "mel" if self.output == "log-mel" else self.output,
        }
        if self.output == "log-mel":
            settings["n_mels"] = self.n_mels
        return SpectrogramConfig.resolve(**{**settings, **changes})

    @property
    def n_samples(self) -> int:
        """Samples of one clip."""
        return max(1, round(self.seconds * self.sample_rate))

    @property
    def n_frames(self) -> int:
        """Frames of all clips together."""
        return self.batch * self.config().n_frames(self.n_samples)

    @property
    def essential_bytes(self) -> int:
        """Bytes of the waveforms and of the result; less cannot be moved."""
        config = self.config()
        value = 8 if config.is_complex else 4
        return 4 * self.batch * self.n_samples + value * config.n_bins * self.n_frames

    @property
    def trains(self) -> bool:
        """Whether gradients are taken."""
        return self.work == "train"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        mels = f", {self.n_mels} mels" if self.output == "log-mel" else ""
        cores = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"{self.work}, {self.output}: n_fft {self.n_fft}, hop {self.hop_length}{mels}, "
            f"{self.sample_rate} Hz, {self.batch} × {self.seconds:g} s, {self.device}"
            + (f", {cores}" if self.device == "cpu" else "")
        )
