import subprocess
import sys

import pytest

from specctl.audio.formats import AUDIO_EXTENSIONS, LIBSNDFILE_EXTENSIONS, extension


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.wav", "wav"),
        ("A.WAV", "wav"),
        ("x/y.d/a", ""),
        (".wav", ""),
        ("a.tar.Flac", "flac"),
        ("a.", ""),
        ("\udcff.ogg", "ogg"),
    ],
    ids=["plain", "upper", "folder", "hidden", "double", "dot", "bytes"],
)
def test_extension_is_lower_case_without_its_dot(name, expected):
    assert extension(name) == expected


@pytest.mark.parametrize(
    "names",
    [
        {"wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aiff", "aif", "aifc", "au", "snd"},
        {"caf", "w64", "rf64", "gsm", "m4a", "aac", "mp4", "webm", "mka", "wma", "alac", "amr"},
        {"g722", "ac3", "wv", "ape", "tta", "mov", "mkv"},
    ],
    ids=["common", "rarer", "rarest"],
)
def test_knows_the_extensions(names):
    assert names <= AUDIO_EXTENSIONS


def test_every_extension_has_one_reader():
    assert all(name == name.lower() and "." not in name for name in AUDIO_EXTENSIONS)
    assert LIBSNDFILE_EXTENSIONS < AUDIO_EXTENSIONS


@pytest.mark.parametrize("module", ["specctl.audio", "specctl.audio.discover"])
def test_importing_waits_for_no_heavy_library(module):
    heavy = "{'numpy', 'soundfile', 'soxr', 'torch', 'h5py', 'librosa', 'pydantic', 'av'}"
    code = (
        "import sys, types, pathlib\n"
        "package = types.ModuleType('specctl')\n"
        f"package.__path__ = [{str(sys.modules['specctl'].__path__[0])!r}]\n"
        "sys.modules['specctl'] = package\n"
        f"import {module}\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
