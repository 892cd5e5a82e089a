"""What a worker does: describe the transform, probe headers, convert one part.

Every function here is called in a worker process by name and with plain data, and returns
plain data. The module is imported once, in the process that all workers are forked from.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from specctl.audio.probe import AudioInfo, probe
from specctl.convert.beats import Beats
from specctl.convert.compute import Computer
from specctl.convert.jobs import Description, PartJob, Receipt, part_path
from specctl.convert.part_worker import PartWorker
from specctl.convert.settings import ConvertConfig, value_range
from specctl.dsp.mel import centre_frequencies, mel_filterbank
from specctl.dsp.windows import window
from specctl.errors import AudioError, ParameterError
from specctl.kernels import registry
from specctl.kernels.base import Demand
from specctl.store.layout import Layout
from specctl.store.part import PartWriter
from specctl.transforms import transform_for


def describe(device: str, kernel: str, config: ConvertConfig, _device: str) -> Description:
    """Resolve ``--device`` and ``--kernel`` on this machine.

    Raises
    ------
    ParameterError
        For a device that is not there.
    KernelError
        If the kernel cannot run there.
    """
    devices = _devices(device)
    demand = Demand(config.spectrogram, torch.device(devices[0]), config.precision)
    choice = registry.choose(kernel, demand)
    return Description(devices, choice.kernel.name, choice.reason)


@lru_cache(maxsize=1)
def layout_for(config: ConvertConfig, _device: str = "cpu") -> tuple[Layout, np.ndarray]:
    """How the values of a config are stored, and the frequency of each bin in Hz."""
    peak = float(window(config).sum()) ** (config.power or 1.0)
    if config.n_mels is not None:
        peak *= float(mel_filterbank(config.spectrogram).sum(dim=1).max())
    layout = Layout.for_values(
        config.n_bins,
        is_complex=config.is_complex,
        dtype=config.dtype,
        compression=config.compression,
        value_range=value_range(config, peak),
    )
    return layout, centre_frequencies(config.spectrogram).numpy()


def probe_all(paths: Sequence[str], _device: str) -> list[AudioInfo | str]:
    """Headers of some files; the reason instead where one cannot be read."""
    infos: list[AudioInfo | str] = []
    for path in paths:
        try:
            infos.append(probe(path))
        except AudioError as error:
            infos.append(str(error))
    return infos


def convert_part(job: PartJob, device: str) -> Receipt:
    """Convert the sources of one part and leave the part file, complete and durable.

    Raises
    ------
    StoreError
        If the part cannot be written.
    AudioError
        If a file fails and the job is strict.
    """
    folder = Path(job.folder)
    layout, _ = layout_for(job.config)
    beat = Beats(folder / "beats", job.n_parts, create=False).row(job.number)
    beat.start()
    computer = _computer(job.config, device, job.kernel, job.vram_budget, job.n_sharing)
    with _one_thread(), PartWriter(part_path(folder, job.number), layout) as writer:
        worker = PartWorker(job, writer, computer, beat)
        worker.convert_all()
        return worker.commit()


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch: there is a process for each core, and numbers must not differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _computer(
    config: ConvertConfig, device: str, kernel: str, vram_budget: int | None, n_sharing: int
) -> Computer:
    """The transform on its device; kept from part to part."""
    where = torch.device(device)
    transform = transform_for(config.spectrogram, kernel=kernel, precision=config.precision)
    transform.requires_grad_(False).to(where)
    return Computer(transform, where, memory_budget(where, vram_budget) // n_sharing)


def memory_budget(device: torch.device, wanted: int | None) -> int:
    """Bytes of device memory for all workers: as asked for, else a quarter of what is free."""
    if device.type != "cuda":
        return 0
    if wanted is not None:
        return wanted
    free, _ = torch.cuda.mem_get_info(device)
    return int(free // 4)


def _devices(device: str) -> tuple[str, ...]:
    """Every device that a ``--device`` names."""
    n_cuda = torch.cuda.device_count()
    if device == "auto":
        device = "cuda" if n_cuda else "cpu"
    names: list[str] = []
    for name in device.split(","):
        kind, _, number = name.strip().partition(":")
        if kind == "cpu" and not number:
            names.append("cpu")
        elif kind == "cuda" and not number and n_cuda:
            names += [f"cuda:{index}" for index in range(n_cuda)]
        elif kind == "cuda" and number.isdecimal() and int(number) < n_cuda:
            names.append(f"cuda:{int(number)}")
        else:
            here = ["cpu", *(f"cuda:{index}" for index in range(n_cuda))]
            raise ParameterError(
                f"device {name.strip()!r} is not on this machine; here: {', '.join(here)}"
            )
    if len({name.partition(":")[0] for name in names}) > 1:
        raise ParameterError(f"device must be of one kind, cpu or cuda, got {device!r}")
    return tuple(dict.fromkeys(names))
