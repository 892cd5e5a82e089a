"""Time a folder of audio to a spectrogram store, end to end: specctl and what people use today.

    python benchmarks/convert.py                          # 100 minutes of WAV, about 5 minutes
    python benchmarks/convert.py --format wav flac mp3 ogg --compression none gzip
    python benchmarks/convert.py --clip-seconds 1         # the same as 6,000 files
    python benchmarks/convert.py --minutes 3 --repeats 1  # a try

Every contender runs as a process of its own. What is equal among them and what is not stands in
`benchmarks/README.md`.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import measure
import record
import report
from contenders import CONTENDERS, why_missing
from corpus import CLIP_SECONDS, LONGEST_SECONDS
from job import Job, Settings
from rounds import HERE, Plan, run_all, say, warm_up

from specctl.cores import usable_cores

FORMATS = ("wav", "flac", "mp3", "ogg")
SCHEMA = "specctl-benchmark-convert/1"


def parse() -> argparse.Namespace:
    """The command line; `--contender` and `--job` are for the processes it starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_KeepLines)
    add = parser.add_argument
    add("--minutes", type=float, default=100.0, help="audio to convert (default 100)")
    add(
        "--clip-seconds",
        type=int,
        default=LONGEST_SECONDS,
        choices=CLIP_SECONDS,
        metavar="N",
        help=f"length of each clip, a divisor of {LONGEST_SECONDS} (default {LONGEST_SECONDS})",
    )
    add(
        "--format",
        nargs="+",
        choices=FORMATS,
        default=["wav"],
        metavar="FORMAT",
        help=f"one or more of {', '.join(FORMATS)} (default wav)",
    )
    add(
        "--compression",
        nargs="+",
        choices=("none", "gzip"),
        default=["none"],
        metavar="NAME",
        help="none, gzip or both (default none)",
    )
    add("--sample-rate", type=int, default=22050, help="Hz (default 22050)")
    add("--n-fft", type=int, default=1024, help="samples (default 1024)")
    add("--hop", type=int, default=256, help="samples (default 256)")
    add("--mels", type=int, default=80, help="mel bands (default 80)")
    add("--workers", type=int, default=usable_cores(), help="processes (default: all cores)")
    add("--repeats", type=int, default=3, help="rounds over all contenders (default 3)")
    add(
        "--only",
        nargs="+",
        choices=list(CONTENDERS),
        metavar="NAME",
        help=f"contenders, of {', '.join(CONTENDERS)} (default all)",
    )
    add("--corpus", type=Path, help="folder for the audio, kept and used again")
    add("--specctl-args", default="", help="more options for `specctl convert`, in one string")
    add("--out", type=Path, help="record (default benchmarks/results/convert-DATE.json)")
    add("--contender", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    add("--job", help=argparse.SUPPRESS)
    return parser.parse_args()  # fmt: skip


class _KeepLines(argparse.RawDescriptionHelpFormatter):
    """The examples stay as they are written."""


def run_child(name: str, fields: dict[str, Any]) -> None:
    """The other side of `run_once`: one contender, in this process."""
    run = CONTENDERS[name].run
    if run is None:
        raise SystemExit(f"{name} is run by its command line")
    corpus, store = Path(fields["corpus"]), Path(fields["store"])
    timing = run(Job(corpus, store, fields["compression"], Settings(**fields["settings"])))
    print(json.dumps(timing._asdict()))


@contextmanager
def corpus_folder(arguments: argparse.Namespace) -> Iterator[Path]:
    """The folder with the audio: the one asked for, or one that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="specctl-benchmark-") as temporary:
        folder = arguments.corpus or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        say(f"corpus: {arguments.minutes:g} minutes in {folder}")
        wanted = {
            "folder": str(folder),
            "formats": arguments.format,
            "minutes": arguments.minutes,
            "sample_rate": arguments.sample_rate,
            "clip_seconds": arguments.clip_seconds,
        }
        built = measure.run([sys.executable, str(HERE / "corpus.py"), json.dumps(wanted)])
        if built.exit_code != 0:
            raise SystemExit(built.stderr.strip())
        yield folder


def benchmark(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run everybody who can run; the record."""
    started, machine = record.now(), record.machine()
    wanted = arguments.only or list(CONTENDERS)
    missing = {name: reason for name in wanted if (reason := why_missing(name))}
    for reason in missing.values():
        say(reason)
    if len(missing) == len(wanted):
        raise SystemExit("nobody to run")
    with corpus_folder(arguments) as folder, tempfile.TemporaryDirectory(dir=folder) as scratch:
        plan = Plan(
            folder=folder,
            formats=arguments.format,
            compressions=arguments.compression,
            contenders=[name for name in wanted if name not in missing],
            repeats=arguments.repeats,
            settings=_settings(arguments),
        )
        n_files = len(plan.job(Path(scratch), "decode", plan.formats[0], "none").files())
        n_seconds = n_files * arguments.clip_seconds
        warm_up(plan, Path(scratch))
        runs = run_all(plan, Path(scratch))
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "date": started,
        "machine": machine,
        "versions": record.versions(),
        "settings": asdict(plan.settings),
        "corpus": {"minutes": n_seconds / 60, "n_files": n_files},
        "repeats": plan.repeats,
        "missing": missing,
        "runs": runs,
        "summary": report.summarise(runs, audio_seconds=n_seconds),
    }
    return {**result, "doubts": record.doubts(result)}


def _settings(arguments: argparse.Namespace) -> Settings:
    return Settings(
        sample_rate=arguments.sample_rate,
        n_fft=arguments.n_fft,
        hop_length=arguments.hop,
        n_mels=arguments.mels,
        workers=arguments.workers,
        specctl_args=arguments.specctl_args,
    )


def main() -> int:
    """Exit code 0, or 1 if a contender failed."""
    arguments = parse()
    if arguments.contender:
        run_child(arguments.contender, json.loads(arguments.job))
        return 0
    stamp = record.now()[:19].replace(":", "").replace("T", "-")
    out = arguments.out or HERE / "results" / f"convert-{stamp}.json"
    if out.exists():
        raise SystemExit(f"{out} already exists; records are never edited, name another")
    # none compiles its modules anew each time, as where all are installed
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    result = benchmark(arguments)
    record.write(out, result)
    print(report.table(result))
    for doubt in result["doubts"]:
        say(f"doubt: {doubt}")
    say(f"record: {out}")
    return 1 if any(run["error"] for run in result["runs"]) else 0


if __name__ == "__main__":
    sys.exit(main())
