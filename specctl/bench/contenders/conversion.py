"""The whole way from a folder of audio to a store, with the time of its stages."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from specctl.bench.audio import clips
from specctl.bench.contenders.base import Contender, Prepared
from specctl.bench.workload import Workload

if TYPE_CHECKING:
    from specctl.convert import Summary


class Conversion(Contender):
    """`specctl.convert_audio` on WAV files of 16 bit, as many workers as threads."""

    name = "specctl-convert"
    equalised = "one folder, one store; benchmarks/convert.py compares it with other converters"
    works = ("convert",)
    allocator = "unseen"

    def prepare(self, workload: Workload) -> Prepared:
        """Write the folder; the batch is read from there and not from the argument."""
        from specctl.convert import Options, convert_audio
        from specctl.store.reader import open_store

        folder = tempfile.TemporaryDirectory(prefix="specctl-bench-")
        source, store = Path(folder.name) / "audio", Path(folder.name) / "out.h5"
        keys = _write_clips(source, workload)
        config = workload.config()
        names = ("sample_rate", "n_fft", "hop_length", "n_mels")
        settings: dict[str, Any] = {name: getattr(config, name) for name in names}
        options = Options(device=workload.device, workers=workload.threads, overwrite=True)
        summaries: list[Summary] = []

        def forward(_: Tensor) -> Path:
            summaries.append(convert_audio(source, store, options=options, **settings))
            return store

        def values(path: Path) -> Tensor:
            with open_store(path) as opened:
                return torch.stack([torch.as_tensor(opened[key]) for key in keys])

        return Prepared(
            forward=forward,
            values=values,
            definition=config,
            details=lambda: _stages(summaries),
            close=folder.cleanup,
        )


def _write_clips(folder: Path, workload: Workload) -> list[str]:
    import soundfile

    folder.mkdir()
    keys = []
    for index, clip in enumerate(clips(workload)):
        keys.append(f"clip-{index:05d}.wav")
        # the clips are whole steps of 16 bit, so the file holds them exactly
        samples = (clip * 32768).to(torch.int16).numpy()
        soundfile.write(folder / keys[-1], samples, workload.sample_rate, "PCM_16")
    return keys


def _stages(summaries: "list[Summary]") -> Mapping[str, float]:
    """Median seconds of each stage; work of the workers is processor time, summed over them."""
    if not summaries:
        return {}
    return {
        name: median(summary.seconds[name] for summary in summaries)
        for name in summaries[0].seconds
    }
