"""The workers' functions by name, so that the parent can send them without importing torch."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

_MODULE = "specctl.convert.work"


def describe(*args: Any) -> Any:
    """`specctl.convert.work.describe`."""
    return import_module(_MODULE).describe(*args)


def layout_for(*args: Any) -> Any:
    """`specctl.convert.work.layout_for`."""
    return import_module(_MODULE).layout_for(*args)


def probe_all(paths: Sequence[str], device: str) -> Any:
    """`specctl.convert.work.probe_all`."""
    return import_module(_MODULE).probe_all(paths, device)


def convert_part(*args: Any) -> Any:
    """`specctl.convert.work.convert_part`."""
    return import_module(_MODULE).convert_part(*args)
