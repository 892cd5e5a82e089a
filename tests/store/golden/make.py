"""Makes the golden stores of the current format: ``python -m tests.store.golden.make``.

Run once for each version of the format, before it is released. A store that is here is never
made again: what was written once must stay readable.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from specctl import convert_audio, open_store
from specctl.convert import Options
from specctl.store.layout import FORMAT_VERSION
from specctl.transforms import MelSpectrogram

FOLDER = Path(__file__).parent
RATE = 8000
STORES: dict[str, dict[str, Any]] = {
    "mel": {
        **{"n_mels": 16, "n_fft": 256, "segment": 0.5, "channels": "each", "dtype": "uint8"},
        **{"top_db": 60.0, "compression": "gzip"},
    },
    "complex": {"feature": "complex", "n_fft": 64, "hop_length": 64, "compression": "none"},
    "mfcc": {"feature": "mfcc", "n_fft": 256, "n_mels": 20, "n_mfcc": 13, "dtype": "float16"},
    "basis": {},
    "truncated": {"n_mels": 8, "n_fft": 256, "dtype": "float16"},
}
BASIS = {"sample_rate": RATE, "n_fft": 64, "hop_length": 64, "n_mels": 8}


def write_audio(folder: Path) -> None:
    """A few clips in folders, one with a strange name and one that is no audio."""
    for number, name in enumerate(["dog/a.wav", "dog/b.flac", "cat/\u00e9 \udcff.wav", "c.wav"]):
        random = np.random.default_rng(number)
        time = np.arange(round(RATE * (0.3 + 0.2 * number))) / RATE
        tone = 0.4 * np.sin(2 * np.pi * (300 + 500 * number) * time)
        samples = tone + 0.01 * random.standard_normal(len(time))
        stereo = np.stack([samples, samples[::-1]], axis=1)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            kind = path.suffix[1:].upper()
            soundfile.write(file, stereo if number == 0 else samples, RATE, "PCM_16", format=kind)
    (folder / "cat" / "bad.wav").write_bytes(b"no audio")


def options(name: str, folder: Path) -> Options:
    """How a store is made; the one of that name has a trained basis, or audio that is cut."""
    basis = None
    if name == "basis":
        transform = MelSpectrogram(**BASIS, trainable=("basis", "mel"))
        with torch.no_grad():
            for weight in transform.parameters():
                weight.mul_(torch.linspace(0.9, 1.1, weight.shape[-1]))
        basis = str(folder / "basis.safetensors")
        transform.save_basis(basis)
    if name == "truncated":
        os.truncate(folder / "dog" / "a.wav", 4000)
    return Options(workers=0, labels="folder", basis=basis, allow_truncated=name == "truncated")


def contents(path: Path) -> dict[str, Any]:
    """What a store says, and a checksum of every value."""
    with open_store(path) as store:
        return {
            "items": {
                key: [list(store[key].shape), hashlib.sha256(store[key].tobytes()).hexdigest()]
                for key in store
            },
            "records": [record.to_dict() for record in store.records],
            "errors": [list(each) for each in store.errors],
            "config": store.config,
            "mean": store.mean.tolist(),
            "std": store.std.tolist(),
            "frequency": store.frequency.tolist(),
            "units": store.attributes["units"],
            **({} if store.basis is None else {"basis": store.basis.fingerprint()}),
        }


def main() -> None:
    """Make what is not there yet."""
    for name, settings in STORES.items():
        path = FOLDER / f"v{FORMAT_VERSION}-{name}.h5"
        if path.exists():
            continue
        with tempfile.TemporaryDirectory() as folder:
            write_audio(Path(folder))
            convert_audio(folder, path, options=options(name, Path(folder)), **settings)
        path.with_suffix(".json").write_text(json.dumps(contents(path), indent=1) + "\n")


if __name__ == "__main__":
    main()
