"""What the record of a GPU needs besides torch, triton and NumPy; imports nothing of it."""

import sys
from importlib.metadata import version
from importlib.util import find_spec

NEEDED = (
    *("pytest", "pydantic", "safetensors", "llvmlite>=0.45", "threadpoolctl"),
    *("h5py", "isal", "soundfile"),
)
"""The last three for ``convert`` alone. Peers that are not installed have no row."""


def refuse_without() -> None:
    """End the process with what is missing, and how to bring it to where there is no network."""
    missing = [needed for needed in NEEDED if not _is_there(needed)]
    if not missing:
        return
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    names = " ".join(f"'{needed}'" if ">" in needed else needed for needed in missing)
    sys.exit(
        f"packages must be installed that are not: {', '.join(missing)}\n"
        f"    pip install {names}\n"
        "or, where there is no network, with wheels that another machine has fetched:\n"
        f"    pip download --python-version {python} --only-binary :all: -d wheels {names}\n"
        f"    pip install --no-index --find-links wheels {names}"
    )


def _is_there(needed: str) -> bool:
    name, _, lowest = needed.partition(">=")
    return find_spec(name) is not None and (
        not lowest or _numbers(version(name)) >= _numbers(lowest)
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(".")[:2])
