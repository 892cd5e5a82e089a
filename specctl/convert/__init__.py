"""The job behind ``specctl convert``, callable from Python, silent.

``finding`` says which files, ``planning`` divides them into parts, ``parts`` has the workers
(``work``) make each part and repeats what a dead worker left, ``merging`` joins them. ``folder``
holds the state between runs; ``executors`` run tasks here, ``pool`` in processes of their own.

Names are loaded when first used, so that workers can be on their way before the rest is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from specctl.errors import Stopped

if TYPE_CHECKING:
    from specctl.convert.api import convert_audio, estimate_conversion
    from specctl.convert.executors import Control
    from specctl.convert.request import Options
    from specctl.convert.settings import ConvertConfig
    from specctl.convert.summary import Estimate, Progress, Summary

_HOMES = {
    "convert_audio": "api",
    "estimate_conversion": "api",
    "Control": "executors",
    "Options": "request",
    "ConvertConfig": "settings",
    "Estimate": "summary",
    "Progress": "summary",
    "Summary": "summary",
}

__all__ = [
    "Control",
    "ConvertConfig",
    "Estimate",
    "Options",
    "Progress",
    "Stopped",
    "Summary",
    "convert_audio",
    "estimate_conversion",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
