"""What a run of ``bench`` is asked for, and the workloads that follow from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from specctl.bench.machine import n_cores
from specctl.bench.workload import WORKS, Work, Workload
from specctl.errors import ParameterError

_Value = TypeVar("_Value")
Threads = Literal["1", "all", "both"]
Sweep = Literal["n_fft", "batch", "seconds", "n_mels"]

SWEEPS: dict[Sweep, tuple[int, ...]] = {
    "n_fft": (256, 400, 512, 1024, 2048, 4096),
    "batch": (1, 2, 4, 8, 16),
    "seconds": (1, 3, 10, 30, 100),
    "n_mels": (20, 40, 80, 128, 256),
}
"""Values that a sweep goes through; with ``n_fft`` the hop is a quarter of it."""

_SETTINGS = ((22050, 1024, 256, 80), (22050, 2048, 512, 128))
_VERIFIED = (*_SETTINGS, (16000, 400, 160, 80))
_BATCH: dict[Work, int] = {"mel": 1, "stft": 1, "train": 4, "convert": 40}
_SECONDS: dict[Work, float] = {"mel": 30.0, "stft": 30.0, "train": 10.0, "convert": 30.0}
_VERIFY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """What to run; ``None`` takes the default of the work.

    ``contenders`` are names or beginnings of names, none of them for everybody. ``budget`` bounds
    the seconds of the whole run: what does not fit is left out and said. ``verify`` computes the
    errors alone.
    """

    works: tuple[Work, ...] = ("mel",)
    device: str = "auto"
    sample_rate: int | None = None
    n_fft: int | None = None
    hop_length: int | None = None
    n_mels: int | None = None
    batch: int | None = None
    seconds: float | None = None
    sweep: Sweep | None = None
    threads: Threads = "both"
    contenders: tuple[str, ...] = ()
    rounds: int = 20
    budget: float = 100.0
    memory: bool = True
    verify: bool = False

    def __post_init__(self) -> None:
        for work in self.works:
            _check("work", work, tuple(WORKS))
        _check("threads", self.threads, get_args(Threads))
        if self.sweep is not None:
            _check("sweep", self.sweep, tuple(SWEEPS))
        if self.rounds < 2:
            raise ParameterError(f"rounds must be at least 2, got {self.rounds}")
        if self.budget <= 0:
            raise ParameterError(f"budget must be positive, got {self.budget:g}")
        if self.sweep is not None and self.sweep in self._given:
            raise ParameterError(f"{self.sweep} must not be given with sweep {self.sweep!r}")

    @property
    def _given(self) -> set[str]:
        names = ("sample_rate", "n_fft", "hop_length", "n_mels", "batch", "seconds")
        return {name for name in names if getattr(self, name) is not None}

    def workloads(self, device: str) -> list[Workload]:
        """Every workload, in the order in which they are run.

        Raises
        ------
        ParameterError
            For settings that are out of range or do not fit together.
        """
        found = []
        for work in self._works():
            for threads in self._threads(device):
                for settings in self._settings():
                    for output in WORKS[work]:
                        found += self._swept(
                            Workload(
                                work=work,
                                output=output,
                                sample_rate=settings[0],
                                n_fft=settings[1],
                                hop_length=settings[2],
                                n_mels=settings[3] if output == "log-mel" else None,
                                batch=self._batch(work),
                                seconds=self._seconds(work),
                                device=device,
                                threads=threads,
                            )
                        )
        return found

    def _works(self) -> tuple[Work, ...]:
        if self.verify and self.works == ("mel",):
            return ("mel", "stft", "train")
        return self.works

    def _threads(self, device: str) -> tuple[int, ...]:
        cores = n_cores()
        if device != "cpu" or self.verify:
            return (cores,)
        chosen = {"1": (1,), "all": (cores,), "both": (1, cores)}[self.threads]
        return tuple(dict.fromkeys(chosen))

    def _settings(self) -> Iterator[tuple[int, int, int, int]]:
        """Sample rate, n_fft, hop and mel bands."""
        defaults: Sequence[tuple[int, int, int, int]] = _VERIFIED if self.verify else _SETTINGS
        if self._given & {"sample_rate", "n_fft", "hop_length", "n_mels"} or self.sweep:
            defaults = defaults[:1]
        for sample_rate, n_fft, hop_length, n_mels in defaults:
            own_n_fft = self.n_fft or n_fft
            scaled = hop_length if own_n_fft == n_fft else max(1, own_n_fft // 4)
            yield (
                _or(self.sample_rate, sample_rate),
                _or(self.n_fft, n_fft),
                _or(self.hop_length, scaled),
                _or(self.n_mels, n_mels),
            )

    def _batch(self, work: Work) -> int:
        return _or(self.batch, 1 if self.verify else _BATCH[work])

    def _seconds(self, work: Work) -> float:
        if self.seconds is not None:
            return self.seconds
        return _VERIFY_SECONDS if self.verify else _SECONDS[work]

    def _swept(self, base: Workload) -> list[Workload]:
        if self.sweep is None or (self.sweep == "n_mels" and base.n_mels is None):
            return [base]
        values = base.to_dict()
        found = []
        for value in SWEEPS[self.sweep]:
            changed = {**values, self.sweep: value}
            if self.sweep == "n_fft" and self.hop_length is None:
                changed["hop_length"] = value // 4
            found.append(Workload(**changed))
        return found


def _or(given: _Value | None, default: _Value) -> _Value:
    return default if given is None else given


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ParameterError(f"{name} must be {' or '.join(allowed)}, got {value!r}")
