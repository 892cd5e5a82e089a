"""Numbers, sizes, lengths of time and commands in the words of people."""

import shlex
from pathlib import Path


def counted(n: int, thing: str) -> str:
    """A number of things: ``1 file``, ``1,836 files``."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def size(n_bytes: float) -> str:
    """A number of bytes: ``312 MB``."""
    if round(n_bytes) < 1000:
        return counted(round(n_bytes), "byte")
    for unit in ("kB", "MB", "GB"):
        n_bytes = _three_digits(n_bytes / 1000)
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
    return f"{_three_digits(n_bytes / 1000):,.15g} TB"


def duration(seconds: float) -> str:
    """A length of time: ``1.4 s``, ``3 min 20 s``, ``5 h 10 min``."""
    # to 0.1 ms: less would be written with an exponent
    shown = _three_digits(round(max(0.0, seconds), 4))
    if shown < 60:
        return f"{shown:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min"


def ratio(value: float) -> str:
    """How many times as much: ``1,107``, ``0.4``."""
    return f"{value:,.0f}" if round(value, 1) >= 10 else f"{value:.1f}"


def shell_command(verb: str, path: Path) -> str:
    """A command for a path, as a shell takes it: ``specctl info 'my store.h5'``."""
    # a name that begins like a flag would be one
    name = f"./{path}" if str(path).startswith("-") else str(path)
    return f"specctl {verb} {shlex.quote(name)}"


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")
