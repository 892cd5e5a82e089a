"""Decoded clips within a memory budget; what does not fit is decoded again when needed."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import starmap
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from specctl.audio.decode import AudioReader, open_audio
from specctl.audio.probe import probe
from specctl.audio.resample import Resampler, mix_channels
from specctl.errors import AudioError, ParameterError
from specctl.training.labels import Labelled

_THREADS = 4
_SAMPLE_BYTES = 4
_OTHER_LABEL = ", of another label"


class Clips:
    """Files as mono clips of one sample rate.

    Parameters
    ----------
    files : sequence of Labelled
    sample_rate : int
        In Hz; files of another are resampled, as ``specctl convert`` does it.
    budget : int
        Bytes of samples to hold.

    Attributes
    ----------
    files : tuple of Labelled
        Those that could be decoded. One with the bytes of another is in the group of that, if
        it was given neither a group nor a split.
    n_samples : tuple of int
        The length of each.
    failures : tuple of (str, str)
        Key and reason of each file that could not be decoded.
    copies : tuple of (str, str)
        Key of each file with the bytes of one before it, and of which.
    dataset_hash : str
        SHA-256 over the names, labels, groups, splits and bytes of the files.
    """

    def __init__(
        self,
        files: Sequence[Labelled],
        sample_rate: int,
        *,
        budget: int = 2**30,
        progress: Callable[[int, int], None] = lambda n_done, n_total: None,
    ) -> None:
        if budget < 0:
            raise ParameterError(f"cache budget must be at least 0 bytes, got {budget}")
        self.sample_rate = sample_rate
        self._budget = budget
        self._lock = threading.Lock()
        decoded = list(self._decode_all(files, progress))
        self.failures = tuple(
            (file.source.key, str(clip))
            for file, clip in zip(files, decoded, strict=True)
            if isinstance(clip, AudioError)
        )
        good = [
            (file, clip)
            for file, clip in zip(files, decoded, strict=True)
            if not isinstance(clip, AudioError)
        ]
        # of copies one of which somebody has put in a group, that one
        first: dict[str, Labelled] = {}
        for file, clip in sorted(good, key=lambda each: _is_alone(each[0])):
            first.setdefault(clip.digest, file)
        pairs = [(file, first[clip.digest]) for file, clip in good]
        self.files = tuple(starmap(_beside, pairs))
        self.copies = tuple(
            (
                file.source.key,
                f"as {other.source.key}" + _OTHER_LABEL * (file.label != other.label),
            )
            for file, other in pairs
            if file is not other
        )
        self._clips = tuple(clip for _, clip in good)
        self.n_samples = tuple(clip.n_samples for clip in self._clips)
        self.dataset_hash = _dataset_hash(good)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def n_bytes(self) -> int:
        """Bytes of samples held now."""
        return sum(clip.samples.nbytes for clip in self._clips if clip.samples is not None)

    def read(self, index: int, start: int, length: int) -> Tensor:
        """Samples of a clip from ``start`` on, fewer at its end; (samples,) float32.

        Raises
        ------
        AudioError
            If the file has to be decoded again and cannot be.
        """
        clip = self._clips[index]
        if clip.samples is not None:
            return torch.from_numpy(clip.samples[start : start + length].copy())
        return torch.from_numpy(self._decode_again(index, start, start + length))

    def _decode_again(self, index: int, start: int, stop: int) -> np.ndarray:
        source = self.files[index].source
        pieces, n_before = [], 0
        try:
            with open_audio(source.path) as reader:
                for piece in _mono(reader, self.sample_rate):
                    pieces.append(piece[max(0, start - n_before) : stop - n_before].copy())
                    n_before += len(piece)
                    if n_before >= stop:
                        break
        except AudioError as error:
            raise AudioError(f"cannot decode {source.key}: {error}") from error
        return np.concatenate(pieces)

    def _decode_all(
        self, files: Sequence[Labelled], progress: Callable[[int, int], None]
    ) -> Iterator["_Clip | AudioError"]:
        with ThreadPoolExecutor(_THREADS) as pool:
            try:
                for number, clip in enumerate(pool.map(self._decode, files)):
                    yield clip
                    progress(number + 1, len(files))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _decode(self, file: Labelled) -> "_Clip | AudioError":
        pieces: list[np.ndarray] | None = []
        n_samples = 0
        try:
            with open_audio(file.source.path, hashed=True) as reader:
                for piece in _mono(reader, self.sample_rate):
                    n_samples += len(piece)
                    # longer than everything that may be held: only its length is wanted
                    if pieces is not None and n_samples * _SAMPLE_BYTES > self._budget:
                        pieces = None
                    if pieces is not None:
                        pieces.append(piece.copy())
                digest = reader.sha256()
        except AudioError as error:
            return error
        samples = None
        if pieces is not None and self._takes(n_samples * _SAMPLE_BYTES):
            samples = np.concatenate(pieces)
        return _Clip(n_samples, digest, samples)

    def _takes(self, n_bytes: int) -> bool:
        """Whether there is room; then it is taken."""
        with self._lock:
            if n_bytes > self._budget:
                return False
            self._budget -= n_bytes
            return True


class _Clip(NamedTuple):
    """What is kept of one file."""

    n_samples: int
    digest: str
    samples: np.ndarray | None


def _beside(file: Labelled, first: Labelled) -> Labelled:
    """Where nobody says who belongs together, a file and its copies do."""
    return replace(file, group=first.group) if _is_alone(file) else file


def _is_alone(file: Labelled) -> bool:
    return file.group == file.source.key and not file.split


def most_common_rate(files: Sequence[Labelled]) -> int:
    """The sample rate that most files have, in Hz; of equally common ones the highest.

    Raises
    ------
    AudioError
        If no header can be read.
    """
    counts: Counter[int] = Counter()
    reason = ""
    for file in files:
        try:
            counts[probe(file.source.path).sample_rate] += 1
        except AudioError as error:
            reason = f"cannot decode {file.source.key}: {error}"
    if not counts:
        raise AudioError(reason or "no audio files")
    return max(counts, key=lambda rate: (counts[rate], rate))


def _mono(reader: AudioReader, sample_rate: int) -> Iterator[np.ndarray]:
    """Stretches of the mean over the channels, at the rate wanted."""
    resampler = Resampler(reader.info.sample_rate, sample_rate)
    for block in reader.blocks():
        yield resampler.push(mix_channels(block), last=False)
    yield resampler.push(np.empty(0, dtype=np.float32), last=True)


def _dataset_hash(good: Sequence[tuple[Labelled, _Clip]]) -> str:
    rows = sorted(
        (file.source.key, file.label, file.split, file.group, clip.digest) for file, clip in good
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
