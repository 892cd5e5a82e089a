"""One conversion to be timed, and what all contenders share."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """What all contenders compute, and on how many cores; lengths in samples."""

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    workers: int
    specctl_args: str = ""


@dataclass(frozen=True)
class Job:
    """One conversion: what goes in, what comes out, and how."""

    corpus: Path
    store: Path
    compression: str
    settings: Settings

    def files(self) -> list[Path]:
        """Every clip, in order; looking for them is part of the job."""
        return sorted(path for path in self.corpus.rglob("*.*") if path.is_file())


class Timing(NamedTuple):
    """What a contender says of itself; ``steady_s`` leaves out imports and warm-up."""

    steady_s: float | None
    n_items: int | None
    details: dict[str, Any] = {}  # noqa: RUF012  a default that nobody changes


def write_hdf5(job: Job, items: Iterable[tuple[str, "FloatArray"]]) -> int:
    """One dataset a clip, as most scripts do; returns how many."""
    import h5py

    options = {"compression": "gzip", "shuffle": True} if job.compression == "gzip" else {}
    n_items = 0
    with h5py.File(job.store, "w") as store:
        for name, spec in items:
            store.create_dataset(name, data=spec, **options)
            n_items += 1
    sync(job.store)
    return n_items


def sync(path: Path) -> None:
    """Wait until the disk has it."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
