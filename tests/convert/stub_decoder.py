"""A decoder that crashes or hangs for real, in place of PyAV.

It is a package named ``av`` that is found before any other; libsndfile does not know its files,
so they come to it. A file says what becomes of its decoder, after how many good openings, and
where openings are counted.
"""

import os
from pathlib import Path

from tests.convert.commands import environment

_PACKAGE = """\
import ctypes, os, pathlib, time
from fractions import Fraction
from types import SimpleNamespace as Made

class FFmpegError(Exception):
    strerror = "said enough"

error = Made(FFmpegError=FFmpegError)
__version__ = "19.0.2"

class Container(Made):
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass

def open(file, **_):
    action, n_good, counter = file.read().decode().split("\\n")
    counter = pathlib.Path(counter)
    with counter.open("a") as opened:
        opened.write("x")
    if len(counter.read_text()) > int(n_good):
        if action == "segv":
            os.kill(os.getpid(), 11)
        if action == "exit":
            os._exit(7)
        if action == "abort":
            os.abort()
        if action == "grow":
            bytearray(4 << 30)
            raise SystemError("there was no limit")
        if action == "talk":
            for number in (1, 2):
                os.write(number, b"decoding {]\\n" * 1000)
            raise FFmpegError
        if action == "slow":
            time.sleep(5.3)
            raise FFmpegError
        if action == "loop":
            # as code in C that lets no other thread of Python run, nor a handler of signals
            ctypes.PyDLL(None).sleep(3600)
        time.sleep(3600)
    codec = Made(sample_rate=16000, channels=1, name="stub")
    stream = Made(codec_context=codec, duration=16000, time_base=Fraction(1, 16000))
    return Container(streams=Made(audio=[stream]), format=Made(name="stub"))
"""


class StubDecoder:
    """The package in a folder, and the environment in which a command finds it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "av").mkdir(parents=True)
        (folder / "av" / "__init__.py").write_text(_PACKAGE)
        paths = [str(folder), os.environ.get("PYTHONPATH", "")]
        self.environment = environment(PYTHONPATH=os.pathsep.join(filter(None, paths)))

    def write(self, path: Path, action: str, n_good: int = 0) -> None:
        """A file whose decoder does something after ``n_good`` openings: ``segv``, ``abort``,
        ``exit``, ``hang``, ``loop``, ``grow``, ``slow`` or ``talk``."""
        path.write_text(f"{action}\n{n_good}\n{self._folder / path.name}")

    def n_opened(self, path: Path) -> int:
        """How often a file was opened."""
        counter = self._folder / path.name
        return len(counter.read_text()) if counter.exists() else 0
