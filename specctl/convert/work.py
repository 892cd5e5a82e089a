"""What a worker does: describe the transform, probe headers, convert one part.

Every function here is called in a worker process by name and with plain data, and returns
plain data. The module is imported once, in the process that all workers are forked from.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from specctl.audio.machine_code import machine_code
from specctl.audio.probe import AudioInfo, probe
from specctl.basis import Basis
from specctl.basis.ordinary import checked_basis
from specctl.convert.beats import Beats
from specctl.convert.compute import Computer
from specctl.convert.compute_native import NativeComputer
from specctl.convert.devices import is_compiled, most_workers, named_devices
from specctl.convert.executors import Rest
from specctl.convert.jobs import Description, PartJob, part_path
from specctl.convert.memory import decoding_limited, limit_memory
from specctl.convert.part_worker import PartWorker
from specctl.convert.settings import ConvertConfig, value_range
from specctl.dsp.mel import centre_frequencies, mel_weights
from specctl.dsp.windows import taper
from specctl.errors import AudioError
from specctl.store.compiled import warm_up
from specctl.store.layout import Layout
from specctl.store.part import PartWriter


def describe(
    device: str, kernel: str, config: ConvertConfig, basis: str | None, _device: str
) -> Description:
    """Resolve ``--device`` and ``--kernel`` on this machine.

    Raises
    ------
    ParameterError
        For a device that is not there.
    KernelError
        If the kernel cannot run there.
    BasisError
        If the basis file is not that of the config.
    """
    machine_code()
    devices = named_devices(device)
    if is_compiled(config, devices[0], kernel):
        # kept: the code is the same whatever the sample rate turns out to be
        NativeComputer(config.spectrogram)
        width = config.n_bins * (2 if config.is_complex else 1)
        warm_up(width, np.dtype(config.dtype).itemsize if config.compression == "gzip" else 0)
        return Description(devices, "fft", "an FFT, compiled for this processor")
    if config.basis is not None:
        from specctl.convert.compute_torch import torch_transform

        transform = torch_transform(config, devices[0], kernel, basis)
        name, reason = transform.kernel_name, transform.kernel_reason
        return Description(devices, name, reason, most_workers(devices))
    import torch

    from specctl.kernels import registry
    from specctl.kernels.base import Demand

    demand = Demand(config.spectrogram, torch.device(devices[0]), config.precision)
    choice = registry.choose(kernel, demand)
    return Description(devices, choice.kernel.name, choice.reason, most_workers(devices))


@lru_cache(maxsize=1)
def layout_for(
    config: ConvertConfig, basis: str | None = None, _device: str = "cpu"
) -> tuple[Layout, np.ndarray]:
    """How the values of a config are stored, and the frequency of each bin in Hz."""
    frequencies = centre_frequencies(config.spectrogram)
    if config.basis is not None:
        held = checked_basis(basis, config.basis, config.spectrogram)
        peak = _peak(held)
        if held.frequencies is not None and config.n_mels is None:
            frequencies = held.frequencies * (config.sample_rate / config.n_fft)
    else:
        peak = float(taper(config).sum()) ** (config.power or 1.0)
        if config.n_mels is not None:
            peak *= float(mel_weights(config.spectrogram).sum(axis=1).max())
    layout = Layout.for_values(
        config.n_bins,
        is_complex=config.is_complex,
        dtype=config.dtype,
        compression=config.compression,
        value_range=value_range(config, peak),
    )
    return layout, np.asarray(frequencies, dtype=np.float64)


def _peak(basis: Basis) -> float:
    """Largest value before the logarithm that samples in [-1, 1] can give."""
    sums = np.abs(basis.basis).sum(axis=1, dtype=np.float64)
    real, imaginary = np.split(sums, 2)
    spec = np.hypot(real, imaginary) ** (basis.config.power or 1.0)
    return float((spec if basis.mel is None else np.abs(basis.mel) @ spec).max())


def probe_all(paths: Sequence[str], _device: str) -> list[AudioInfo | str]:
    """Headers of some files; the reason instead where one cannot be read."""
    infos: list[AudioInfo | str] = []
    for path in paths:
        try:
            with decoding_limited():
                infos.append(probe(path))
        except AudioError as error:
            infos.append(str(error))
        except MemoryError:
            infos.append("not enough memory")
    return infos


def convert_part(job: PartJob, device: str) -> Rest:
    """Convert the sources of one part; the rest makes the part file durable, for a `Receipt`.

    Raises
    ------
    StoreError
        If the part cannot be written.
    AudioError
        If a file fails and the job is strict.
    """
    if is_compiled(job.config, device, job.kernel):
        # torch and drivers of GPUs take more for themselves, nobody knows how much
        limit_memory()
    folder = Path(job.folder)
    layout, _ = layout_for(job.config, job.basis)
    beat = Beats(Path(job.beats), job.n_parts).row(job.number)
    beat.start()
    computer = _computer(job.config, device, job.kernel, job.basis, job.vram_budget, job.n_sharing)
    with PartWriter(part_path(folder, job.number), layout) as writer:
        worker = PartWorker(job, writer, computer, beat)
        worker.convert_all()
        worker.finish()
        return Rest(worker.publish)


@lru_cache(maxsize=1)
def _computer(
    config: ConvertConfig,
    device: str,
    kernel: str,
    basis: str | None,
    vram_budget: int | None,
    n_sharing: int,
) -> Computer:
    """The transform on its device; kept from part to part."""
    if is_compiled(config, device, kernel):
        return NativeComputer(config.spectrogram)
    # it may be that of another machine of a cluster
    named_devices(device)
    from specctl.convert.compute_torch import torch_computer

    return torch_computer(config, device, kernel, basis, vram_budget, n_sharing)
