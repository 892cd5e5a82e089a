"""Run contenders, each as a process of its own, and say what it took."""

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import measure
from contenders import CONTENDERS, parse_specctl, specctl_command
from job import Job, Settings, Timing

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Plan:
    """What is run: every contender on every case, as often as asked for."""

    folder: Path
    formats: list[str]
    compressions: list[str]
    contenders: list[str]
    repeats: int
    settings: Settings

    def job(self, scratch: Path, name: str, format_name: str, compression: str) -> Job:
        """One conversion; the store stands on the disk of the corpus."""
        corpus, store = self.folder / format_name, scratch / f"{name}.h5"
        return Job(corpus, store, compression, self.settings)


def run_once(name: str, job: Job) -> dict[str, Any]:
    """Run one contender and say what it took; a failure is a result as well."""
    if CONTENDERS[name].run is None:
        command = specctl_command(job)
    else:
        fields = json.dumps(asdict(job), default=str)
        command = [sys.executable, str(HERE / "convert.py"), "--contender", name, "--job", fields]
    measured = measure.run(command)
    timing, error = _timing(name, measured)
    n_files = len(job.files())
    if error is None and timing.n_items not in (None, n_files):
        error = f"{timing.n_items} of {n_files} files came out"
    return {
        "contender": name,
        "wall_s": measured.wall_s,
        "steady_s": timing.steady_s,
        "n_items": timing.n_items,
        "peak_tree_mb": measured.peak_tree_mb,
        "peak_process_mb": measured.peak_process_mb,
        "output_mb": _size_mb(job.store),
        "details": timing.details,
        "error": error,
    }


def _timing(name: str, measured: measure.Measured) -> tuple[Timing, str | None]:
    nothing = Timing(None, None)
    if measured.exit_code != 0:
        last = (measured.stderr.strip() or "no message").splitlines()[-1]
        return nothing, f"exit code {measured.exit_code}: {last}"
    try:
        if CONTENDERS[name].run is None:
            return parse_specctl(measured.stdout), None
        return Timing(**json.loads(measured.stdout.splitlines()[-1])), None
    except (IndexError, ValueError, TypeError) as problem:
        return nothing, f"no answer on stdout: {problem}"


def _size_mb(store: Path) -> float | None:
    files = [store] if store.is_file() else [path for path in store.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) / 1e6 if files else None


def agreement(name: str, job: Job) -> dict[str, Any] | None:
    """Difference from librosa; None for what stores other numbers or none."""
    if not CONTENDERS[name].comparable:
        return None
    arguments = {
        "corpus": str(job.corpus),
        "store": str(job.store),
        "settings": asdict(job.settings),
    }
    command = [sys.executable, str(HERE / "agreement.py"), json.dumps(arguments)]
    measured = measure.run(command)
    if measured.exit_code != 0:
        return {"problem": (measured.stderr.strip() or "no message").splitlines()[-1]}
    return dict(json.loads(measured.stdout))


def run_all(plan: Plan, scratch: Path) -> list[dict[str, Any]]:
    """Round after round, so that a slow minute of the machine falls on all contenders alike."""
    runs = []
    for format_name in plan.formats:
        for compression in plan.compressions:
            for repeat in range(plan.repeats):
                for name in _rotated(plan.contenders, repeat):
                    job = plan.job(scratch, name, format_name, compression)
                    measure.settle()
                    run = run_once(name, job)
                    checked = repeat == 0 and run["error"] is None
                    run["agreement"] = agreement(name, job) if checked else None
                    _remove(job.store)
                    case = {"format": format_name, "compression": compression, "repeat": repeat}
                    runs.append({**case, **run})
                    say(f"{format_name} {compression} {repeat + 1}/{plan.repeats} {name}: "
                         f"{run['error'] or format(run['wall_s'], '.2f') + ' s'}")  # fmt: skip
    return runs


def warm_up(plan: Plan, scratch: Path) -> None:
    """Run everybody on one clip, so that no first run reads libraries from a cold disk."""
    one_clip = scratch / "one-clip"
    first = min((plan.folder / plan.formats[0]).rglob("*.*"))
    one_clip.mkdir()
    shutil.copy(first, one_clip)
    for name in plan.contenders:
        job = Job(one_clip, scratch / "warm-up.h5", plan.compressions[0], plan.settings)
        run_once(name, job)
        _remove(job.store)


def _rotated(names: list[str], by: int) -> list[str]:
    by %= len(names)
    return names[by:] + names[:by]


def _remove(store: Path) -> None:
    if store.is_dir():
        shutil.rmtree(store)
    else:
        store.unlink(missing_ok=True)


def say(line: str) -> None:
    """Progress and doubts go to stderr, the table to stdout."""
    print(line, file=sys.stderr, flush=True)
