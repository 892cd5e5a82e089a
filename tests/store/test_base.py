import h5py
import numpy as np
import pytest

from specctl.errors import StoreError
from specctl.store.layout import FailureRecord
from specctl.store.reader import open_store
from specctl.store.verify import verify_store

from .stores import Made, make_store, merge, random_values, small_layout, write_part
from .test_verify import seal_again


def updated(tmp_path, made, values, replaced, **options):
    part = write_part(tmp_path / "new.part", made.layout, values)
    summary = merge(
        [part], tmp_path / "new.h5", made.layout, base=made.path, replaced=replaced, **options
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
    summary, new = updated(tmp_path, old, values, replaced)
    assert summary.n_replaced == len(replaced)
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


def test_update_forgets_failures_of_sources_that_succeed_now(tmp_path):
    old = make_store(tmp_path)
    values = {"anna/bad.wav": random_values(old.layout, 2, seed=5)}
    failures = [FailureRecord("more.wav", "first"), FailureRecord("more.wav", "second")]
    updated(tmp_path, old, values, [], extra_failures=failures)
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
    with pytest.raises(StoreError, match="damaged: its index does not match its checksum"):
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
