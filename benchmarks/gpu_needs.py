"""What the record of a GPU needs besides torch, triton and NumPy; imports nothing of it."""

import sys
from importlib.util import find_spec

NEEDED = (
    *("pytest", "pydantic", "safetensors", "llvmlite", "threadpoolctl"),
    *("h5py", "isal", "soundfile"),
)
"""The last three for ``convert`` alone. Peers that are not installed have no row."""


def refuse_without() -> None:
    """End the process with what is missing, and how to bring it to where there is no network."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    names = " ".join(missing)
    sys.exit(
        f"packages must be installed that are not: {', '.join(missing)}\n"
        f"    pip install {names}\n"
        "or, where there is no network, with wheels that another machine has fetched:\n"
        f"    pip download --python-version {python} --only-binary :all: -d wheels {names}\n"
        f"    pip install --no-index --find-links wheels {names}"
    )
