"""What it costs that nothing is lost: `specctl convert` against one HDF5 file written as it comes.

    python benchmarks/durability.py                # 20 minutes of WAV, under three minutes
    python benchmarks/durability.py --minutes 2 --repeats 1

All read, hash, transform and compress the same files with the same code in one process, in turns.
The unsafe way writes each chunk to the store at once: no parts and no fsync; killed at any time it
leaves nothing that can be used, and its file stays in the memory of the system, which writes it to
the disk when it likes. It is measured with the digests, checksums and statistics that a store
holds (what durability alone costs, which is what the goal is for), and bare, without them.
"""

import argparse
import gc
import hashlib
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import corpus
import h5py
import measure
import numpy as np
import record

from specctl import convert_audio
from specctl.convert import Control, Options, finding, planning
from specctl.convert.beats import Beat
from specctl.convert.compute_native import NativeComputer
from specctl.convert.executors import InProcess
from specctl.convert.jobs import PartJob
from specctl.convert.part_worker import PartWorker
from specctl.convert.request import Request
from specctl.convert.settings import ConvertConfig, GivenSettings
from specctl.convert.work import layout_for
from specctl.store.chunks import ChunkCodec, checksum
from specctl.store.hdf5 import create_spectrogram
from specctl.store.layout import FILL_VALUE, Layout
from specctl.store.stats import MomentsGatherer
from specctl.store.values import write_values

HERE = Path(__file__).parent
SCHEMA = "specctl-benchmark-durability/1"
GOAL = 1.15
RATE = 22_050
_SIZES = {"n_fft": 1024, "hop_length": 256}
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    **{
        f"{n_mels} bands, {compression}": {**_SIZES, "n_mels": n_mels, "compression": compression}
        for n_mels in (80, 128)
        for compression in ("gzip", "none")
    },
}


Way = Callable[[Path, Path, dict[str, Any]], None]


class UnsafeWriter:
    """What `PartWorker` needs of a writer, straight into a dataset of the store."""

    def __init__(self, dataset: h5py.Dataset, layout: Layout, *, is_bare: bool) -> None:
        self.is_bare = is_bare
        self._digest, self._gatherer = hashlib.sha256(), MomentsGatherer(layout.width)
        self.layout, self._dataset, self._codec = layout, dataset, ChunkCodec(layout)
        self._buffer = np.full(
            (layout.chunk_frames, layout.width), FILL_VALUE, dtype=layout.stored_dtype
        )
        self._n_buffered = self._n_rows = self.n_items = 0

    def begin_source(self) -> None:
        """Nothing to remember."""

    def end_item(self, **_: object) -> None:
        """Count."""
        self.n_items += 1
        if not self.is_bare:
            self._gatherer.finish()
            self._digest.hexdigest()
            self._gatherer.reset()
            self._digest = hashlib.sha256()

    def end_source(self, *, truncated: bool = False) -> None:
        """Nothing to keep."""

    def append(self, frames: np.ndarray) -> None:
        """Write the chunks that are full."""
        rows = np.ascontiguousarray(frames, dtype=np.float32).reshape(-1, self.layout.width)
        if not self.is_bare:
            self._gatherer.add(rows)
        while len(rows):
            taken = min(len(rows), self.layout.chunk_frames - self._n_buffered)
            place = self._buffer[self._n_buffered : self._n_buffered + taken]
            write_values(rows[:taken], place, self.layout)
            if not self.is_bare:
                self._digest.update(place.data)
            self._n_buffered += taken
            rows = rows[taken:]
            if self._n_buffered == self.layout.chunk_frames:
                self.flush()

    def flush(self) -> None:
        """Write what is in the buffer."""
        first, self._n_rows = self._n_rows, self._n_rows + self.layout.chunk_frames
        self._dataset.resize(self._n_rows, axis=0)
        place = (first, *(0,) * (self._dataset.ndim - 1))
        data = self._codec.encode(self._buffer)
        if not self.is_bare:
            checksum(data)
        self._dataset.id.write_direct_chunk(place, data)
        self._n_buffered = 0


def convert_unsafely(
    source: Path, store: Path, settings: dict[str, Any], *, is_bare: bool = False
) -> None:
    """Convert a folder to a dataset in a file that is not durable and has no index."""
    options = Options(workers=0)
    given = GivenSettings(settings, None, None)
    request = Request.of(source, options)
    planner = planning.Planner(request, given, options, Control(), lambda _: None)
    made = planner.plan(InProcess(), finding.find(request, None), None)
    if made is None:
        raise RuntimeError("nothing to convert")
    job, plan = made
    config = ConvertConfig.from_dict(job.config)
    layout, _ = layout_for(config, None)
    with h5py.File(store, "w", rdcc_nbytes=0) as file:
        writer: Any = UnsafeWriter(create_spectrogram(file, layout, {}), layout, is_bare=is_bare)
        part = PartJob(
            number=0,
            folder="",
            beats="",
            n_parts=1,
            sources=tuple(plan.sources),
            config=config,
            kernel="fft",
        )
        beat = Beat(np.zeros(5, np.int64))
        PartWorker(part, writer, NativeComputer(config.spectrogram), beat).convert_all()
        writer.flush()
    if writer.n_items != len(plan.sources):
        raise RuntimeError(f"{len(plan.sources) - writer.n_items} files failed")


def convert_safely(source: Path, store: Path, settings: dict[str, Any]) -> None:
    """Convert a folder as anybody would."""
    convert_audio(source, store, options=Options(workers=0), **settings)


def timed(
    convert: Way,
    source: Path,
    store: Path,
    settings: dict[str, Any],
) -> float:
    """Seconds of one conversion to a store that is not there yet."""
    store.unlink(missing_ok=True)
    measure.settle()
    gc.collect()
    began = time.perf_counter()
    convert(source, store, settings)
    return time.perf_counter() - began


def measure_all(
    cases: dict[str, dict[str, Any]], source: Path, folder: Path, repeats: int
) -> list[dict[str, Any]]:
    """One row for each case."""
    rows = []
    for name, settings in cases.items():
        ways: dict[str, Way] = {
            "safe": convert_safely,
            "unsafe": convert_unsafely,
            "bare": partial(convert_unsafely, is_bare=True),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(repeats + 1):
            for way in sorted(ways, reverse=number % 2 == 0):
                spent = timed(ways[way], source, folder / f"{way}.h5", settings)
                if number:
                    # the first round compiles and fills caches
                    seconds[way].append(spent)
        rows.append(
            {
                "case": name,
                "output_mb": (folder / "safe.h5").stat().st_size / 1e6,
                **{f"{way}_s": record.spread(spent) for way, spent in seconds.items()},
                "over_unsafe": record.spread(ratios(seconds["safe"], seconds["unsafe"])),
                "over_bare": record.spread(ratios(seconds["safe"], seconds["bare"])),
            }
        )
        say(rows[-1])
    return rows


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Of each round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def say(row: dict[str, Any]) -> None:
    """One line of what was found."""
    ratio, bare = row["over_unsafe"], row["over_bare"]
    print(
        f"{row['case']:18}{row['output_mb']:8.1f} MB  safe {row['safe_s']['median']:6.2f} s  "
        f"unsafe {row['unsafe_s']['median']:6.2f} s, ratio {ratio['median']:.2f} "
        f"({ratio['min']:.2f} to {ratio['max']:.2f}), goal {GOAL}; over bare {bare['median']:.2f}"
    )


def main() -> None:
    """Measure and write a record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="audio (default 20)")
    parser.add_argument("--only", default="", help="cases with this in their names")
    parser.add_argument("--repeats", type=int, default=7, help="rounds that count (default 7)")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "durability.json")
    options = parser.parse_args()
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "date": record.now(),
        "machine": record.machine(),
        "versions": record.versions(),
        # where the record goes is nobody's business
        "command": [f"--{name}={given}" for name, given in vars(options).items() if name != "out"],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus.build(
            folder / "in", ["wav"], minutes=options.minutes, sample_rate=RATE, clip_seconds=30
        )
        found["rows"] = measure_all(
            {name: case for name, case in CASES.items() if options.only in name},
            folder / "in" / "wav",
            folder,
            options.repeats,
        )
    record.write(options.out, found)


if __name__ == "__main__":
    main()
