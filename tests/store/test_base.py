import h5py
import numpy as np
import pytest

from specctl.errors import StoreError
from specctl.store.base import Base
from specctl.store.layout import DTYPES
from specctl.store.reader import open_store
from specctl.store.store_file import StoreFile
from specctl.store.verify import verify_store

from .stores import Made, make_store, merge, random_values, small_layout, write_part
from .test_verify import seal_again

# float64 sums in another order
PRECISION = 1e-12


def updated(tmp_path, made, values, replaced, *failures, **options):
    parts = [write_part(tmp_path / "new.part", made.layout, values)]
    for number, failed in enumerate(failures):
        parts.append(write_part(tmp_path / f"{number}.part", made.layout, {}, failed))
    summary = merge(
        parts, tmp_path / "new.h5", made.layout, base=made.path, replaced=replaced, **options
    )
    kept = {key: frames for key, frames in made.values.items() if key not in replaced}
    return summary, Made(tmp_path / "new.h5", made.layout, kept | values)


@pytest.mark.parametrize("replaced", [[], ["anna/1.wav"], ["ben/0.wav", "anna/2.wav"], "all"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_update_has_the_kept_and_the_new_items(tmp_path, dtype, compression, replaced):
    layout = small_layout(dtype, compression)
    old = make_store(tmp_path, layout)
    replaced = list(old.values) if replaced == "all" else replaced
    values = {"new.wav": random_values(layout, 11, seed=99)}
    values |= {key: random_values(layout, 6, seed=i) for i, key in enumerate(replaced)}
    _, new = updated(tmp_path, old, values, replaced)
    with open_store(new.path) as store:
        assert set(store) == set(new.values)
        for key, frames in new.values.items():
            np.testing.assert_allclose(store[key], frames.T, rtol=0, atol=layout.max_error)
        everything = np.concatenate(list(new.values.values())).astype(np.float64)
        off = layout.max_error + 1e-9
        np.testing.assert_allclose(store.mean, everything.mean(axis=0), rtol=0, atol=off)
        np.testing.assert_allclose(store.std, everything.std(axis=0), rtol=0, atol=off)
    assert verify_store(new.path) == []


def test_update_keeps_the_statistics_exact_when_a_loud_item_leaves(tmp_path):
    layout = small_layout()
    quiet, loud = random_values(layout, 40, 0) * np.float32(1e-9), random_values(layout, 40, 1)
    merge(
        [write_part(tmp_path / "a", layout, {"quiet": quiet, "loud": loud * np.float32(1e6)})],
        tmp_path / "out.h5",
        layout,
    )
    merge([], tmp_path / "new.h5", layout, base=tmp_path / "out.h5", replaced=["loud"])
    with open_store(tmp_path / "new.h5") as store:
        np.testing.assert_allclose(store.std, quiet.astype(np.float64).std(axis=0), rtol=1e-9)


def update_again(path, layout, number, values, replaced):
    """One more update of a store in its place."""
    parts = [write_part(path.with_name(f"{number}.part"), layout, values)] if values else []
    merge(parts, path, layout, base=path, replaced=replaced)


def assert_statistics_are_those_of(path, layout, values):
    assert verify_store(path) == []
    everything = np.concatenate(list(values.values())).astype(np.float64)
    mean, std = everything.mean(axis=0), everything.std(axis=0)
    off = layout.max_error + PRECISION * (abs(mean) + std)
    with open_store(path) as store:
        assert (abs(store.mean - mean) <= off).all()
        assert (abs(store.std - std) <= off).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_statistics_stay_exact_over_many_updates(tmp_path, dtype):
    random = np.random.default_rng(DTYPES.index(dtype))
    layout, path = small_layout(dtype), tmp_path / "out.h5"

    def drawn():
        level = np.float32(10.0 ** -random.integers(7))
        return random_values(layout, random.choice([1, 3, 40, 400]), random.integers(1000)) * level

    kept = {f"{number}.wav": drawn() for number in range(4)}
    merge([write_part(tmp_path / "first.part", layout, kept)], path, layout)
    for number in range(6):
        leaving = random.choice(sorted(kept), random.integers(3), replace=False).tolist()
        values = {key: drawn() for key in [*leaving[1:], f"new-{number}.wav"]}
        update_again(path, layout, number, values, leaving)
        kept = {key: frames for key, frames in kept.items() if key not in leaving} | values
        assert_statistics_are_those_of(path, layout, kept)


@pytest.mark.parametrize("dtype", ["float16", "int16", "uint8"])
def test_the_rounding_of_what_leaves_is_not_put_on_what_stays(tmp_path, dtype):
    layout = small_layout(dtype)
    # almost half a step above what is stored
    between = layout.add_offset + layout.scale_factor * 30.45 if layout.is_integer else -80.97
    values = {
        "long": np.full((400, layout.n_bins), between, dtype=np.float32),
        "short": random_values(layout, 40, seed=1),
    }
    merge([write_part(tmp_path / "a.part", layout, values)], tmp_path / "out.h5", layout)
    update_again(tmp_path / "out.h5", layout, 1, {}, ["long"])
    assert_statistics_are_those_of(tmp_path / "out.h5", layout, {"short": values["short"]})


def test_each_of_the_loudest_files_leaves_the_statistics_exact(tmp_path):
    layout = small_layout()
    levels = {"a": 1.0, "b": 1e-1, "c": 1e-2, "d": 1e-3}
    values = {
        key: random_values(layout, 200, seed) * np.float32(level)
        for seed, (key, level) in enumerate(levels.items())
    }
    path = tmp_path / "out.h5"
    merge([write_part(tmp_path / "a.part", layout, values)], path, layout)
    for number, key in enumerate("abc"):
        values[key] = random_values(layout, 200, 10 + number) * np.float32(1e-4)
        update_again(path, layout, number, {key: values[key]}, [key])
        assert_statistics_are_those_of(path, layout, values)


def test_an_update_that_only_adds_reads_no_frames(tmp_path, monkeypatch):
    made = make_store(tmp_path)
    monkeypatch.setattr(StoreFile, "rows", None)
    with Base(made.path, made.layout, ["new.wav"]) as base, StoreFile(made.path) as file:
        moments = base.kept_moments()
        assert moments.mean.tobytes() == file.moments.mean.tobytes()


def test_refuses_to_take_statistics_of_frames_that_were_changed(tmp_path):
    old = make_store(tmp_path)
    with h5py.File(old.path, "r+") as file:
        file["spectrogram"][6, 3] += 1
    seal_again(old.path)
    with pytest.raises(StoreError, match=r"out\.h5 is damaged: rows 5 to 23"):
        updated(tmp_path, old, {}, ["ben/0.wav"])


def test_update_forgets_failures_of_sources_that_succeed_now(tmp_path):
    old = make_store(tmp_path)
    values = {"anna/bad.wav": random_values(old.layout, 2, seed=5)}
    updated(tmp_path, old, values, [], {"more.wav": "first"}, {"more.wav": "second"})
    with open_store(tmp_path / "new.h5") as store:
        assert store.errors == [("ben/bad.wav", "cannot decode"), ("more.wav", "second")]


def test_update_leaves_the_base_as_it_was(tmp_path):
    old = make_store(tmp_path)
    before = old.path.read_bytes()
    updated(tmp_path, old, {"new.wav": random_values(old.layout, 2, seed=5)}, ["anna/0.wav"])
    assert old.path.read_bytes() == before


def test_refuses_a_key_that_comes_twice(tmp_path):
    old = make_store(tmp_path)
    with pytest.raises(StoreError, match=r"key 'anna/0.wav' comes more than once"):
        updated(tmp_path, old, {"anna/0.wav": random_values(old.layout, 2, seed=5)}, [])
    assert not (tmp_path / "new.tmp").exists()


def test_refuses_a_base_whose_index_was_changed(tmp_path):
    old = make_store(tmp_path)
    with h5py.File(old.path, "r+") as file:
        file["index/label"][0] = b"dog"
    with pytest.raises(StoreError, match=r"damaged: its index, .* do not match their checksum"):
        updated(tmp_path, old, {"new.wav": random_values(old.layout, 2, seed=5)}, [])
    assert not (tmp_path / "new.tmp").exists()


def test_takes_nothing_from_a_leaving_item_whose_frames_were_changed(tmp_path):
    old = make_store(tmp_path)
    with h5py.File(old.path, "r+") as file:
        file["spectrogram"][6, 3] += 1
    seal_again(old.path)
    assert [problem.key for problem in verify_store(old.path)] == ["anna/1.wav"]
    _, new = updated(tmp_path, old, {"anna/1.wav": old.values["anna/1.wav"]}, ["anna/1.wav"])
    assert verify_store(new.path) == []
