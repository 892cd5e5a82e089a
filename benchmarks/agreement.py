"""How far the numbers in a contender's store are from librosa's, in dB.

Run as a process of its own after a contender has finished, on a few clips; the comparison is with
librosa in float64, so that librosa's own rounding shows as well.
"""

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import librosa
import numpy as np
import numpy.typing as npt
import soundfile

N_CLIPS = 5
# bands this far below the loudest are rounding noise of float32 in some peers
AUDIBLE_DB = 80.0


def reference_db(path: Path, settings: dict[str, int]) -> npt.NDArray[np.float64]:
    """Log-mel of one clip in float64; (mel, frame)."""
    waveform, sample_rate = soundfile.read(path, dtype="float64")
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=sample_rate,
        n_fft=settings["n_fft"],
        hop_length=settings["hop_length"],
        n_mels=settings["n_mels"],
        pad_mode="constant",
    )
    return np.asarray(librosa.power_to_db(mel, ref=1.0, top_db=None))


def read_item(store: h5py.File, name: str) -> npt.NDArray[np.float64]:
    """One item as (mel, frame), from a store of specctl or of one dataset a clip."""
    if "index" not in store:
        return np.asarray(store[name], dtype=np.float64)
    keys = [Path(key.decode()).stem for key in store["index/key"][:]]
    at = keys.index(name)
    start, length = int(store["index/start"][at]), int(store["index/length"][at])
    return np.asarray(store["spectrogram"][start : start + length], dtype=np.float64).T


def compare(corpus: Path, store_path: Path, settings: dict[str, int]) -> dict[str, Any]:
    """Greatest and RMS difference over clips spread over the corpus; `audible` within 80 dB."""
    files = sorted(path for path in corpus.rglob("*.*") if path.is_file())
    chosen = files[:: max(1, len(files) // N_CLIPS)][:N_CLIPS]
    errors, audible = [], []
    with h5py.File(store_path) as store:
        for path in chosen:
            wanted, got = reference_db(path, settings), read_item(store, path.stem)
            if wanted.shape != got.shape:
                return {"problem": f"{path.name} has shape {got.shape}, librosa {wanted.shape}"}
            errors.append(np.abs(wanted - got).ravel())
            audible.append((wanted > wanted.max() - AUDIBLE_DB).ravel())
    error, heard = np.concatenate(errors), np.concatenate(audible)
    return {
        "max_db": float(error.max()),
        "max_db_audible": float(error[heard].max()),
        "rms_db": float(np.sqrt(np.mean(error**2))),
        "n_clips": len(chosen),
    }


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    difference = compare(
        Path(arguments["corpus"]), Path(arguments["store"]), arguments["settings"]
    )
    print(json.dumps(difference))
