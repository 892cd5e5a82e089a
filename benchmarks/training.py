"""Was training the basis worth it on real recordings?

    python benchmarks/training.py
    python benchmarks/training.py --tasks letters --models linear --out benchmarks/results/x.json

Two tasks from Debian packages, each with a linear model and a small CNN, each with the basis
fixed and trained:

letters
    ``klettres-data``: letters of the Latin alphabet by name, read by one voice for each language.
    A group is a language, so no voice is on both sides of a split.
language
    ``asterisk-core-sounds-{en,es,fr}-wav``: prompts that all three languages have. A group is a
    prompt, so none is on both sides. Each language has one voice, so a voice tells the language.
    Every third prompt is taken, to end within minutes.
"""

import argparse
import csv
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import record
import torch

from specctl.training import Options, Summary, train_basis

LETTER = re.compile(r'<sound\s+name="([A-Z])"\s+file="([^"]+)"')
SHARE = Path("/usr/share")
RESULT = Path(__file__).parent / "results" / "training-here.json"

SPECTROGRAMS: dict[str, dict[str, Any]] = {
    "letters": {"sample_rate": 16000, "n_fft": 400, "hop_length": 200, "n_mels": 40, "crop": 1.5},
    "language": {"sample_rate": 8000, "n_fft": 256, "hop_length": 128, "n_mels": 40, "crop": 1.0},
}
BUDGETS: dict[str, dict[str, Any]] = {
    "letters": {"epochs": 30, "batch_size": 32, "augment": ("gain", "noise", "shift")},
    "language": {"epochs": 10, "batch_size": 32, "augment": ("gain", "noise")},
}
MODELS: dict[str, dict[str, Any]] = {"linear": {"lr": 1e-2}, "cnn": {"lr": 2e-3}}


def letters(share: Path) -> Iterator[tuple[str, str, str]]:
    """Path within klettres, letter, language; a language that names a letter twice has it once."""
    folder = share / "klettres"
    for listing in sorted(folder.glob("*/sounds.xml")):
        seen = set()
        for name, path in LETTER.findall(listing.read_text(encoding="utf-8")):
            if "/alpha/" in path and name not in seen and (folder / path).exists():
                seen.add(name)
                yield path, name, listing.parent.name


def languages(share: Path) -> Iterator[tuple[str, str, str]]:
    """Path within the sounds, language, prompt; for prompts that every language has."""
    folder = share / "asterisk" / "sounds"
    voices = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    prompts = [
        {str(file.relative_to(voice)) for file in voice.rglob("*.wav") if not file.is_symlink()}
        for voice in voices
    ]
    for prompt in sorted(set.intersection(*prompts))[::3]:
        for voice in voices:
            yield f"{voice.name}/{prompt}", voice.name.partition("_")[0], prompt


TASKS = {"letters": ("klettres", letters), "language": ("asterisk/sounds", languages)}


def run(task: str, model: str, runs: int, share: Path, scratch: Path) -> dict[str, Any]:
    """One row of the record."""
    folder, rows = TASKS[task]
    labels = scratch / f"{task}.csv"
    with labels.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "group"))
        writer.writerows(rows(share))
    started = time.perf_counter()
    summary = train_basis(
        share / folder,
        scratch / f"{task}-{model}.safetensors",
        labels=labels,
        model=model,
        runs=runs,
        options=Options(device="cpu", overwrite=True),
        **SPECTROGRAMS[task],
        **BUDGETS[task],
        **MODELS[model],
    )
    return _row(task, summary, time.perf_counter() - started)


def _row(task: str, summary: Summary, seconds: float) -> dict[str, Any]:
    verdict = summary.verdict.to_dict() if summary.verdict is not None else None
    return {
        "task": task,
        "model": summary.settings.model,
        "n_files": summary.n_files,
        "n_classes": len(summary.classes),
        "chance": 1 / len(summary.classes),
        "n_trained": summary.n_trained,
        "settings": summary.settings.to_dict(),
        "config": summary.config.to_dict(),
        "dataset_hash": summary.dataset_hash,
        "verdict": verdict,
        "runs": [
            {
                "run": result.run,
                "arm": result.arm,
                "validation_accuracy": result.validation_accuracy,
                "test_accuracy": result.test["accuracy"],
                "test_macro_f1": result.test["macro_f1"],
                "test_loss": result.test["loss"],
                "final_train_loss": result.history[-1]["train_loss"],
                "ms_per_step": result.ms_per_step,
                "peak_memory_mb": result.peak_memory_mb,
            }
            for result in summary.results
        ],
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Run the tasks and write the record."""
    parser = argparse.ArgumentParser(description="Fixed against trained basis, real recordings.")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--share", type=Path, default=SHARE, help="where the packages lie")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[dict[str, Any]] = []
    header = {
        "date": record.now(),
        "machine": record.machine(),
        "threads": given.threads,
        "versions": record.versions(),
    }
    with tempfile.TemporaryDirectory() as scratch:
        for task in given.tasks:
            for model in given.models:
                rows.append(run(task, model, given.runs, given.share, Path(scratch)))
                print(f"{task}, {model}: {rows[-1]['verdict']['sentence']}", file=sys.stderr)
                record.write(given.out, {**header, "rows": rows})


if __name__ == "__main__":
    main()
