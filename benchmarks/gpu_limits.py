"""What a GPU can do at most: its ceilings, and the largest training batch in a given memory."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from specctl.bench.contenders import find_contender
from specctl.bench.timing import timer_for
from specctl.bench.workload import Workload

COPIED_BYTES = 8 * 2**30
PRODUCT_SIZE = 8192
DTYPES = {
    "bf16": (torch.bfloat16, False),
    "fp16": (torch.float16, False),
    "tf32": (torch.float32, True),
    "fp32": (torch.float32, False),
}
TRAINED = ("specctl-conv", "nnAudio", "torchlibrosa")
CARD_BYTES = 24 * 2**30
MOST_CLIPS = 1024


def ceilings(
    device: str, *, n_bytes: int = COPIED_BYTES, size: int = PRODUCT_SIZE, rounds: int = 10
) -> dict[str, float]:
    """Bytes a second of a copy, read and write counted; operations a second of products."""
    found = {"copy_bytes_per_s": 2 * n_bytes / _fastest(device, rounds, _copy(device, n_bytes))}
    for name, (dtype, is_tf32) in DTYPES.items():
        if device == "cpu" and name in ("fp16", "tf32"):
            continue
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = is_tf32
        try:
            seconds = _fastest(device, rounds, _product(device, size, dtype))
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        found[f"{name}_flop_per_s"] = 2.0 * size**3 / seconds
    return found


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to ``most`` that fits, if all smaller ones do; 0 if none."""
    fitting, failing = 0, most + 1
    probe = 1
    while failing - fitting > 1:
        if fits(probe):
            fitting = probe
        else:
            failing = probe
        doubled = 2 * fitting if failing == most + 1 else (fitting + failing) // 2
        probe = min(max(doubled, fitting + 1), most)
    return fitting


def largest_batches(device: str, n_bytes: int = CARD_BYTES) -> list[dict[str, Any]]:
    """How many clips of a minute, hop 128, each contender can train on within ``n_bytes``."""
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, n_bytes / total), device)
    rows = []
    try:
        for name in TRAINED:
            row: dict[str, Any] = {"contender": name, "memory_bytes": n_bytes}
            missing = find_contender(name, "fp32", device).missing()
            if missing is not None:
                rows.append({**row, "note": missing})
                continue
            count = largest(partial(_trains, name, device), MOST_CLIPS)
            rows.append({**row, "largest_batch": count})
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    return rows


def _trains(name: str, device: str, n_clips: int) -> bool:
    """Whether a step on so many clips ends without running out of memory."""
    workload = Workload(
        work="train",
        output="log-mel",
        sample_rate=22050,
        n_fft=2048,
        hop_length=128,
        n_mels=128,
        batch=n_clips,
        seconds=60.0,
        device=device,
        threads=1,
    )
    prepared = None
    try:
        prepared = find_contender(name, "fp32", device).prepare(workload)
        if prepared.step is not None:
            prepared.step(0.1 * torch.randn(n_clips, workload.n_samples, device=device))
        torch.cuda.synchronize(device)
    except torch.OutOfMemoryError:
        return False
    finally:
        prepared = None
        torch.cuda.empty_cache()
    return True


def _copy(device: str, n_bytes: int) -> Callable[[], object]:
    source = torch.ones(n_bytes // 4, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _product(device: str, size: int, dtype: torch.dtype) -> Callable[[], object]:
    # never zeros, which take less power and so less time
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return lambda: left @ right


def _fastest(device: str, rounds: int, work: Callable[[], object]) -> float:
    timer = timer_for(device)
    for _ in range(2):
        work()
    return min(timer.time(work).seconds for _ in range(rounds))
