"""The console script: importing the commands registers them with the app."""

import sys

from specctl.cli import bench, convert, info, presets, verify
from specctl.cli.app import app

__all__ = ["bench", "convert", "info", "main", "presets", "verify"]


def main() -> None:
    """Entry point of ``specctl``."""
    sys.exit(app())
