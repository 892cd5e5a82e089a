"""The console script: importing the commands registers them with the app."""

import sys

from specctl.cli import bench, convert, doctor, export_basis, info, presets, train_basis, verify
from specctl.cli.app import app

__all__ = [
    "bench",
    "convert",
    "doctor",
    "export_basis",
    "info",
    "main",
    "presets",
    "train_basis",
    "verify",
]


def main() -> None:
    """Entry point of ``specctl``."""
    sys.exit(app())
