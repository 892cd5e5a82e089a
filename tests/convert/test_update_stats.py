"""Statistics after ``--update`` are those of the frames that are there."""

import numpy as np
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options
from specctl.store.verify import verify_store
from tests.convert.audio_files import RATE, write

UPDATE = Options(workers=0, update=True)

# float64 sums in another order
PRECISION = 1e-12


def write_level(path, level, seconds, seed):
    """A file of white noise alone."""
    random = np.random.default_rng(seed)
    noise = level * random.standard_normal((round(seconds * RATE), 1))
    write(path, noise.astype("f4"), RATE, subtype="FLOAT")


def assert_is_as_if_made_at_once(store, folder, fresh, settings):
    assert verify_store(store) == []
    convert_audio(folder, fresh, options=Options(workers=0, overwrite=True), **settings)
    with open_store(store) as left, open_store(fresh) as right:
        off = left.layout.max_error + PRECISION * (abs(right.mean) + right.std)
        assert (abs(left.mean - right.mean) <= off).all()
        assert (abs(left.std - right.std) <= off).all()


@pytest.mark.parametrize("dtype", ["float16", "int16", "uint8"])
def test_a_long_file_that_becomes_short_leaves_no_rounding_behind(tmp_path, dtype):
    folder, store = tmp_path / "in", tmp_path / "o.h5"
    write_level(folder / "long.wav", 0.01, 60, seed=0)
    write_level(folder / "short.wav", 0.01, 1, seed=1)
    settings = {"dtype": dtype}
    convert_audio(folder, store, options=Options(workers=0), **settings)
    write_level(folder / "long.wav", 0.01, 0.5, seed=2)
    convert_audio(folder, store, options=UPDATE, **settings)
    assert_is_as_if_made_at_once(store, folder, tmp_path / "fresh.h5", settings)


def test_one_loud_file_after_the_other_leaves_no_error_behind(tmp_path):
    folder, store = tmp_path / "in", tmp_path / "o.h5"
    for number in range(4):
        write_level(folder / f"{number}.wav", 10.0**-number, 1, seed=number)
    settings = {"scale": "none"}
    convert_audio(folder, store, options=Options(workers=0), **settings)
    for number in range(3):
        write_level(folder / f"{number}.wav", 1e-4, 1, seed=10 + number)
        convert_audio(folder, store, options=UPDATE, **settings)
        assert_is_as_if_made_at_once(store, folder, tmp_path / "fresh.h5", settings)
