"""The source distribution, from which others build packages."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent
FOLDERS = ("specctl", "tests", "benchmarks")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*")
BUILD = "from setuptools import build_meta; build_meta.build_sdist('dist')"


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_all_that_the_tests_need_is_in_it(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"
    for name in FOLDERS:
        shutil.copytree(HOME / name, source / name, ignore=LEFT_OUT)
    for path in HOME.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source)
    wanted = files_of(source)
    subprocess.run([sys.executable, "-c", BUILD], cwd=source, check=True, capture_output=True)
    (packed,) = (source / "dist").iterdir()
    with tarfile.open(packed) as archive:
        # in a folder of the name of the distribution
        assert wanted - {name.partition("/")[2] for name in archive.getnames()} == set()
