"""specctl: folders of audio to spectrogram stores, with kernels that can be trained.

The layers, from the top; each imports only from those below it:

``cli``
    The command line; the only place that prints or exits.
``bench`` · ``convert`` · ``training`` · ``doctor``
    The jobs behind ``specctl bench``, ``specctl convert``, ``specctl train-basis`` and ``specctl
    doctor``, callable from Python, silent.
``audio`` · ``store`` · ``augment`` · ``transforms``
    Decoding, the HDF5 store, augmentation, and the ``nn.Module`` transforms; they meet only
    above.
``basis``
    Basis files: trained weights as data.
``kernels``
    Frames to spectra: one transform, several implementations that must agree.
``dsp``
    Pure functions on tensors.
``config`` · ``settings`` · ``presets`` · ``compiler`` · ``durable`` · ``locks`` ·
``presence`` · ``control_groups`` · ``cores`` · ``main_memory`` · ``launch`` · ``eager`` ·
``given_files`` · ``words`` · ``errors``
    Settings, LLVM, files that outlast a power cut, folders for one process at a time, what is
    there and what cannot be looked at, how much of the machine there is for this process, how
    many processes there are, calls that run as written, tables that users give, numbers in
    words, and what can go wrong: every error of specctl's own is a
    ``specctl.errors.SpecctlError``.

Public names are loaded when first used, so that ``import specctl`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from specctl.version import __version__

if TYPE_CHECKING:
    from specctl.basis import Basis, load_basis
    from specctl.config import SpectrogramConfig, StftConfig
    from specctl.convert import convert_audio
    from specctl.store.reader import Store, open_store
    from specctl.transforms import MFCC, MelSpectrogram, Spectrogram

_HOMES = {
    "Basis": "specctl.basis",
    "load_basis": "specctl.basis",
    "SpectrogramConfig": "specctl.config",
    "StftConfig": "specctl.config",
    "convert_audio": "specctl.convert",
    "Store": "specctl.store.reader",
    "open_store": "specctl.store.reader",
    "Spectrogram": "specctl.transforms",
    "MelSpectrogram": "specctl.transforms",
    "MFCC": "specctl.transforms",
}

_MODULES = ("augment", "convert", "errors", "training")

__all__ = [
    "MFCC",
    "Basis",
    "MelSpectrogram",
    "Spectrogram",
    "SpectrogramConfig",
    "StftConfig",
    "Store",
    "__version__",
    "convert_audio",
    "load_basis",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"specctl.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'specctl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
