"""Real recordings: where they are, and stores made of them by the command line."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.convert.commands import run_script

SHARE = Path(os.environ.get("SPECCTL_REAL_AUDIO", "/usr/share"))


@dataclass(frozen=True)
class Collection:
    """A folder of recordings and what its package promises of them."""

    folder: Path
    ending: str
    fewest: int
    package: str
    folders: tuple[str, ...] = ("*",)

    @property
    def flags(self):
        return [flag for name in self.folders for flag in ("--include", name)]

    def files(self):
        return sorted(
            path
            for name in self.folders
            for path in self.folder.glob(f"{name}/**/*{self.ending}")
            if path.is_file() and not path.is_symlink()
        )


KLETTRES = Collection(SHARE / "klettres", ".ogg", 1800, "klettres-data")
# no page of those in ar is marked as the last, and of those in cs many hold several streams
LANGUAGES = ("ar", "cs", "de", "en", "es", "fr", "hu")
COLLECTIONS = {
    "asterisk": Collection(SHARE / "asterisk/sounds", ".wav", 1600, "asterisk-core-sounds-*-wav"),
    "klettres": replace(KLETTRES, fewest=450, folders=LANGUAGES),
    "all-of-klettres": KLETTRES,
}


@pytest.fixture(
    scope="session",
    params=["asterisk", "klettres", pytest.param("all-of-klettres", marks=pytest.mark.thorough)],
)
def collection(request):
    found = COLLECTIONS[request.param]
    if not found.folder.is_dir():
        pytest.skip(f"{found.package} is not installed; see tests/real/install.sh")
    return found


@pytest.fixture(scope="session")
def store(collection, tmp_path_factory):
    """A store of the whole collection, log-mel with the defaults, labels by folder."""
    path = tmp_path_factory.mktemp("real") / "out.h5"
    done = convert(collection.folder, path, "--labels", "folder", *collection.flags)
    assert done.returncode == 0, done.stderr
    return path


def convert(*arguments):
    """Run ``specctl convert`` as a user does."""
    return run_script("convert", *arguments, timeout=300)
