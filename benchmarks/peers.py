"""What people do today to turn a folder of audio into log-mel spectrograms on disk.

Each peer is one function from a `Job` to a `Timing`. It imports what it needs and warms up on one
clip (a pool: twice a worker), and only then starts its clock; it stops when every spectrogram is
written and synced. Written the way the projects' own guides write it, and where there is a choice,
the faster way.
"""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from job import Job, Timing, sync, write_hdf5

if TYPE_CHECKING:
    import torch
    from job import FloatArray

BATCH_SIZE = 8


def _librosa_item(path: Path, job: Job) -> tuple[str, "FloatArray"]:
    import librosa

    waveform, _ = librosa.load(path, sr=None)
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=job.settings.sample_rate,
        n_fft=job.settings.n_fft,
        hop_length=job.settings.hop_length,
        n_mels=job.settings.n_mels,
        pad_mode="constant",
    )
    return path.stem, librosa.power_to_db(mel, ref=1.0, top_db=None)


def run_librosa(job: Job) -> Timing:
    """`librosa.feature.melspectrogram` in a joblib loop over all cores."""
    from joblib import Parallel, delayed

    first = next(path for path in job.corpus.rglob("*.*") if path.is_file())
    with Parallel(n_jobs=job.settings.workers, return_as="generator") as pool:
        for _ in pool(delayed(_librosa_item)(first, job) for _ in range(2 * job.settings.workers)):
            pass
        started = perf_counter()
        items = pool(delayed(_librosa_item)(path, job) for path in job.files())
        n_items = write_hdf5(job, items)
        return Timing(perf_counter() - started, n_items)


def _read_tensor(path: Path) -> "torch.Tensor":
    import soundfile
    import torch

    waveform, _ = soundfile.read(path, dtype="float32")
    return torch.from_numpy(waveform)


class _Waveforms:
    """Map-style dataset: (name, waveform)."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[str, "torch.Tensor"]:
        return self.files[index].stem, _read_tensor(self.files[index])


class _LogMels(_Waveforms):
    """Map-style dataset: (name, log-mel), computed where it is loaded."""

    def __init__(self, files: list[Path], job: Job) -> None:
        super().__init__(files)
        import librosa
        import torch

        self.job = job
        self.window = torch.hann_window(job.settings.n_fft)
        self.mel = torch.from_numpy(
            librosa.filters.mel(
                sr=job.settings.sample_rate, n_fft=job.settings.n_fft, n_mels=job.settings.n_mels
            )
        )

    def __getitem__(self, index: int) -> tuple[str, "torch.Tensor"]:
        import torch

        name, waveform = super().__getitem__(index)
        spectrum = torch.stft(
            waveform,
            self.job.settings.n_fft,
            self.job.settings.hop_length,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )
        return name, to_db(self.mel @ spectrum.abs().square())


def to_db(power: "torch.Tensor") -> "torch.Tensor":
    """Decibels against 1.0, floor at 1e-10."""
    return power.clamp(min=1e-10).log10().mul(10.0)


def _as_list(batch: list[Any]) -> list[Any]:
    return batch


def _batches(dataset: Any, job: Job) -> Iterator[list[tuple[str, "torch.Tensor"]]]:
    from torch.utils.data import DataLoader

    yield from DataLoader(
        dataset, batch_size=BATCH_SIZE, num_workers=job.settings.workers, collate_fn=_as_list
    )


def run_torch(job: Job) -> Timing:
    """`torch.stft` in a `Dataset`, spread over all cores by a `DataLoader`."""
    _LogMels(job.files()[:1], job)[0]
    started = perf_counter()
    dataset = _LogMels(job.files(), job)
    items = ((name, mel.numpy()) for batch in _batches(dataset, job) for name, mel in batch)
    n_items = write_hdf5(job, items)
    return Timing(perf_counter() - started, n_items)


def run_nnaudio(job: Job) -> Timing:
    """nnAudio's `MelSpectrogram` on batches that a `DataLoader` decodes."""
    os.environ.setdefault("NNAUDIO_DISABLE_CITATION_REMINDER", "1")
    import torch
    from nnAudio.features import MelSpectrogram

    layer = MelSpectrogram(
        sr=job.settings.sample_rate,
        n_fft=job.settings.n_fft,
        hop_length=job.settings.hop_length,
        n_mels=job.settings.n_mels,
        pad_mode="constant",
        verbose=False,
    )

    def log_mels(batch: list[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, "FloatArray"]]:
        names, waveforms = zip(*batch, strict=True)
        # clips of one length go through the layer together
        alike = len({len(waveform) for waveform in waveforms}) == 1
        stacks = [torch.stack(waveforms)] if alike else [each[None] for each in waveforms]
        specs = [spec for stack in stacks for spec in to_db(layer(stack))]
        for name, spec in zip(names, specs, strict=True):
            yield name, spec.numpy()

    with torch.inference_mode():
        list(log_mels([_Waveforms(job.files()[:1])[0]]))
        started = perf_counter()
        batches = _batches(_Waveforms(job.files()), job)
        n_items = write_hdf5(job, (item for batch in batches for item in log_mels(batch)))
        return Timing(perf_counter() - started, n_items)


def run_lhotse(job: Job) -> Timing:
    """lhotse's `LibrosaFbank`, faster here and closer than its `Fbank`; one HDF5 file a worker."""
    import torch
    from lhotse import CutSet, NumpyHdf5Writer, Recording, RecordingSet
    from lhotse.features.librosa_fbank import LibrosaFbank, LibrosaFbankConfig

    torch.set_num_threads(1)  # as lhotse's guide says for extraction in processes
    config = LibrosaFbankConfig(
        sampling_rate=job.settings.sample_rate,
        fft_size=job.settings.n_fft,
        hop_size=job.settings.hop_length,
        num_mel_bins=job.settings.n_mels,
        fmin=0,
        fmax=job.settings.sample_rate // 2,
    )
    extractor = LibrosaFbank(config)
    waveform = Recording.from_file(job.files()[0]).load_audio()
    spawn = multiprocessing.get_context("spawn")  # as lhotse does when it is given no pool
    with ProcessPoolExecutor(job.settings.workers, spawn) as pool:
        warm = [
            pool.submit(extractor.extract, waveform, job.settings.sample_rate)
            for _ in range(2 * job.settings.workers)
        ]
        for future in warm:
            future.result()
        started = perf_counter()
        recordings = RecordingSet.from_recordings(map(Recording.from_file, job.files()))
        cuts = CutSet.from_manifests(recordings=recordings).compute_and_store_features(
            extractor=extractor,
            storage_path=job.store,
            num_jobs=job.settings.workers,
            storage_type=NumpyHdf5Writer,
            executor=pool if job.settings.workers > 1 else None,
            progress_bar=False,
        )
        for path in job.store.rglob("*.h5"):
            sync(path)
        return Timing(perf_counter() - started, len(cuts))
