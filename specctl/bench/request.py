"""What a run of ``bench`` is asked for, and the workloads that follow from it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, get_args

from specctl.bench.workload import WORKS, Work, Workload
from specctl.cores import usable_cores
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


class Setting(NamedTuple):
    """What a workload transforms with; lengths in samples, the rate in Hz."""

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int


DEFAULT_SETTINGS = (Setting(22050, 1024, 256, 80), Setting(22050, 2048, 512, 128))
ALL_SETTINGS = (*DEFAULT_SETTINGS, Setting(16000, 400, 160, 80))
"""The last one is what speech models want; its n_fft is no power of two."""

LARGE = Setting(22050, 2048, 128, 128)
LARGE_BATCH, LARGE_SECONDS = 64, 60.0
"""For GPUs: four float32 for each bin and frame, which others keep, are 11 GB of it."""

_BATCH: dict[Work, int] = {"mel": 1, "stft": 1, "train": 16, "convert": 40}
_SECONDS: dict[Work, float] = {"mel": 30.0, "stft": 30.0, "train": 20.0, "convert": 30.0}
_VERIFY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """What to run; ``None`` takes the default of the work.

    ``settings`` are gone through one after the other; a number given beside them replaces theirs.
    ``contenders`` are names or beginnings of names, none of them for everybody. After ``budget``
    seconds nothing more is begun, and what is left out is said; contenders that have begun are
    timed four times. ``verify`` computes the errors alone.
    """

    works: tuple[Work, ...] = ("mel",)
    device: str = "auto"
    sample_rate: int | None = None
    n_fft: int | None = None
    hop_length: int | None = None
    n_mels: int | None = None
    batch: int | None = None
    seconds: float | None = None
    settings: tuple[Setting, ...] = ()
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
        if not 0 < self.budget < math.inf:
            raise ParameterError(f"budget must be positive and finite, got {self.budget:g}")
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
        found: list[Workload] = []
        for work in self._works():
            for threads in self._threads(device):
                for settings in self._settings():
                    for output in WORKS[work]:
                        found += self._swept(
                            Workload(
                                work=work,
                                output=output,
                                sample_rate=settings.sample_rate,
                                n_fft=settings.n_fft,
                                hop_length=settings.hop_length,
                                n_mels=settings.n_mels if output == "log-mel" else None,
                                batch=self._batch(work),
                                seconds=self._seconds(work),
                                device=device,
                                threads=threads,
                            )
                        )
        return [*found, *self._large(device)]

    def _large(self, device: str) -> list[Workload]:
        is_plain = not (self._given or self.settings or self.sweep or self.verify)
        if device == "cpu" or "train" not in self.works or not is_plain:
            return []
        size = (LARGE_BATCH, LARGE_SECONDS, device, usable_cores())
        return [Workload("train", "log-mel", *LARGE, *size)]

    def _works(self) -> tuple[Work, ...]:
        if self.verify and self.works == ("mel",):
            return ("mel", "stft", "train")
        return self.works

    def _threads(self, device: str) -> tuple[int, ...]:
        cores = usable_cores()
        if device != "cpu" or self.verify:
            return (cores,)
        chosen = {"1": (1,), "all": (cores,), "both": (1, cores)}[self.threads]
        return tuple(dict.fromkeys(chosen))

    def _settings(self) -> Iterator[Setting]:
        chosen = self.settings or (ALL_SETTINGS if self.verify else DEFAULT_SETTINGS)
        if not self.settings and (self._given & set(Setting._fields) or self.sweep):
            chosen = chosen[:1]
        for base in chosen:
            given = {name: getattr(self, name) for name in Setting._fields if name in self._given}
            if "n_fft" in given and given["n_fft"] != base.n_fft:
                given.setdefault("hop_length", max(1, given["n_fft"] // 4))
            yield base._replace(**given)

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
