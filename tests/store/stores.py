"""Small parts and stores for tests, and what went into them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from specctl.durable import publish
from specctl.store.layout import FailureRecord, Layout
from specctl.store.merge import MergeSummary, merging
from specctl.store.part import PartWriter

CONFIG = '{"sample_rate": 16000, "hop_length": 160, "n_fft": 400, "feature": "mel"}'
ATTRIBUTES = {
    "config": CONFIG,
    "fingerprint": hashlib.sha256(CONFIG.encode()).hexdigest(),
    "created": "2026-11-01T12:00:00+00:00",
    "job": "j1",
}


@dataclass
class Made:
    """A finished store, its layout, and the values that went in, (n, n_bins[, 2]) by key."""

    path: Path
    layout: Layout
    values: dict[str, np.ndarray]


def random_values(layout: Layout, n_frames: int, seed: int) -> np.ndarray:
    """Values inside the range of every stored type, -90 to 20."""
    random = np.random.default_rng(seed)
    return random.uniform(-90, 20, (n_frames, *layout.frame_shape)).astype(np.float32)


def write_part(
    path: Path,
    layout: Layout,
    values: dict[str, np.ndarray],
    failures: dict[str, str] | None = None,
    label: str = "",
) -> Path:
    """A part of the items given, each its own source."""
    with PartWriter(path, layout) as writer:
        for key, frames in values.items():
            add_item(writer, key, frames, label)
        for key, reason in (failures or {}).items():
            writer.fail(FailureRecord(key, reason, size=3, mtime_ns=4))
        commit(writer)
    return path


def add_item(writer: PartWriter, key: str, frames: np.ndarray, label: str = "") -> None:
    """One item, handed over at once."""
    writer.begin_source()
    writer.append(frames)
    writer.end_item(
        key=key,
        source=key,
        sample_rate=44100,
        n_samples=len(frames) * 160,
        label=label or key.rpartition("/")[0],
        size=1000,
        mtime_ns=10**18 + 1,
        sha256="a" * 64,
    )
    writer.end_source()


def commit(writer: PartWriter, **about: object) -> None:
    """Finish a part and give it its name."""
    writer.finish(**about)
    writer.publish()


def merge(parts: list[Path], path: Path, layout: Layout, **options: object) -> MergeSummary:
    """Merge and publish with the usual attributes; options of `merging` or `Merger.finish`."""
    temporary = path.with_suffix(".tmp")
    about = {
        "frequencies": np.linspace(0, 8000, layout.n_bins),
        "attributes": ATTRIBUTES,
    }
    about = {name: options.pop(name, value) for name, value in about.items()}
    texts = {"units": "dB", "long_name": "log mel spectrogram"}
    with merging(temporary, layout=layout, **texts, **options) as merger:
        for part in parts:
            merger.add(part)
        merger.finish(**about)
    summary = merger.summary(temporary.stat().st_size)
    publish(temporary, path)
    return summary


def small_layout(dtype: str = "float32", compression: str = "gzip", **fields: object) -> Layout:
    """Seven bins; chunks of 8 frames, so that a few frames are several chunks."""
    made = Layout.for_values(
        7, dtype=dtype, compression=compression, value_range=(-100.0, 30.0), **fields
    )
    return Layout.from_dict({**made.to_dict(), "chunk_frames": 8})


def make_store(folder: Path, layout: Layout | None = None, lengths: tuple = (5, 19, 1)) -> Made:
    """Two parts, each with an item of every length."""
    layout = layout or small_layout()
    values = {
        f"{speaker}/{i}.wav": random_values(layout, length, seed=10 * part + i)
        for part, speaker in enumerate(("anna", "ben"))
        for i, length in enumerate(lengths)
    }
    parts = [
        write_part(
            folder / f"{speaker}.part",
            layout,
            {key: frames for key, frames in values.items() if key.startswith(speaker)},
            failures={f"{speaker}/bad.wav": "cannot decode"},
        )
        for speaker in ("anna", "ben")
    ]
    merge(parts, folder / "out.h5", layout)
    return Made(folder / "out.h5", layout, values)


def write_config(path: Path, text: str) -> None:
    """Give a store other settings, as a stranger may who also writes their fingerprint."""
    data = text.encode()
    with h5py.File(path, "r+") as file:
        file.attrs["config"] = np.bytes_(data)
        file.attrs["fingerprint"] = np.bytes_(hashlib.sha256(data).hexdigest())
