"""Real recordings: where they are, and stores made of them by the command line."""

import os
from dataclasses import dataclass
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

    def files(self):
        return sorted(
            path
            for path in self.folder.rglob(f"*{self.ending}")
            if path.is_file() and not path.is_symlink()
        )


COLLECTIONS = {
    "asterisk": Collection(SHARE / "asterisk/sounds", ".wav", 1600, "asterisk-core-sounds-*-wav"),
    "klettres": Collection(SHARE / "klettres", ".ogg", 1800, "klettres-data"),
}


@pytest.fixture(scope="session", params=COLLECTIONS)
def collection(request):
    found = COLLECTIONS[request.param]
    if not found.folder.is_dir():
        pytest.skip(f"{found.package} is not installed; see tests/real/install.sh")
    return found


@pytest.fixture(scope="session")
def store(collection, tmp_path_factory):
    """A store of the whole collection, log-mel with the defaults, labels by folder."""
    path = tmp_path_factory.mktemp("real") / "out.h5"
    done = convert(collection.folder, path, "--labels", "folder")
    assert done.returncode == 0, done.stderr
    return path


def convert(*arguments):
    """Run ``specctl convert`` as a user does."""
    return run_script("convert", *arguments, timeout=300)
