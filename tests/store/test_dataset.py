import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from specctl.errors import ParameterError
from specctl.store.dataset import Item, collate
from specctl.store.reader import open_store

from .stores import make_store, small_layout

FORK_WARNING = "ignore:.*fork.*:DeprecationWarning"


@pytest.fixture
def made(tmp_path):
    return make_store(tmp_path)


def test_items_are_those_of_the_store(made):
    with open_store(made.path) as store:
        dataset = store.dataset()
        assert len(dataset) == 6
        item = dataset[4]
        assert (item.key, item.label) == ("ben/1.wav", 1)
        assert (item.spec.numpy() == made.values["ben/1.wav"].T).all()
        assert dataset.classes == ["anna", "ben"]
        # hashes of a million items, which nobody has asked for, would take as much as the keys
        assert "index" not in vars(store)


def test_takes_the_keys_asked_for_in_their_order(made):
    with open_store(made.path) as store:
        dataset = store.dataset(keys=["ben/0.wav", "anna/2.wav"])
        assert [item.key for item in dataset] == ["ben/0.wav", "anna/2.wav"]
        assert dataset.labels == [1, 0]
        assert store.dataset(keys="ben/0.wav").keys == ["ben/0.wav"]


def test_complex_items_are_complex(tmp_path):
    made = make_store(tmp_path, small_layout(is_complex=True))
    with open_store(made.path) as store:
        assert store.dataset()[0].spec.dtype == torch.complex64


def test_undecoded_complex_items_are_padded_by_frames(tmp_path):
    made = make_store(tmp_path, small_layout(is_complex=True))
    with open_store(made.path, decode=False) as store:
        assert {item.spec.shape for item in store.dataset(frames=6)} == {(7, 6, 2)}
        batch = collate(list(store.dataset()))
    assert batch.spec.shape == (6, 7, 19, 2)
    assert batch.lengths.tolist() == [5, 19, 1] * 2
    assert (batch.spec[0, :, :5].numpy() == made.values["anna/0.wav"].swapaxes(0, 1)).all()
    assert (batch.spec[0, :, 5:] == 0).all()


def test_batches_come_in_the_order_asked_for(made):
    with open_store(made.path) as store:
        dataset = store.dataset()
        keys = [item.key for item in dataset.__getitems__([5, 0, 3])]
        assert keys == ["ben/2.wav", "anna/0.wav", "ben/0.wav"]


def test_batches_are_read_in_the_order_on_disk(made, monkeypatch):
    with open_store(made.path) as store:
        dataset, read = store.dataset(), []
        original = store.read
        monkeypatch.setattr(
            store, "read", lambda key, *a: (read.append(key), original(key, *a))[1]
        )
        dataset.__getitems__([5, 0, 3])
        assert read == ["anna/0.wav", "ben/0.wav", "ben/2.wav"]


@pytest.mark.parametrize(
    ("method", "n_workers"), [(None, 0), ("fork", 2), ("spawn", 1)], ids=["none", "fork", "spawn"]
)
@pytest.mark.filterwarnings(FORK_WARNING)
def test_workers_read_every_item_once(made, method, n_workers):
    with open_store(made.path) as store:
        expected = {key: store[key] for key in store}
        dataset = store.dataset(pad_value=-100.0)
        loader = DataLoader(
            dataset,
            batch_size=4,
            shuffle=True,
            num_workers=n_workers,
            multiprocessing_context=method,
            collate_fn=dataset.collate,
        )
        found = {}
        for batch in loader:
            for spec, length, label, key in zip(*batch, strict=True):
                found[key] = spec[:, :length].numpy()
                assert (spec[:, length:] == -100).all()
                assert dataset.classes[label] == key.split("/")[0]
    assert found.keys() == expected.keys()
    assert all((found[key] == expected[key]).all() for key in expected)


def test_collate_pads_to_the_longest_and_tells_lengths():
    items = [Item(torch.ones(2, n), n, str(n)) for n in (3, 1)]
    batch = collate(items, pad_value=-1.0)
    assert batch.spec.tolist() == [[[1, 1, 1]] * 2, [[1, -1, -1]] * 2]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.labels.tolist() == [3, 1]
    assert batch.keys == ["3", "1"]


def test_first_crops_begin_at_the_start_and_short_items_are_padded(made):
    with open_store(made.path) as store:
        dataset = store.dataset(frames=6, crop="first", pad_value=-100.0)
        assert {item.spec.shape for item in dataset} == {(7, 6)}
        assert (dataset[1].spec.numpy() == made.values["anna/1.wav"].T[:, :6]).all()
        assert (dataset[0].spec[:, :5].numpy() == made.values["anna/0.wav"].T).all()
        assert (dataset[0].spec[:, 5:] == -100).all()


def test_random_crops_are_parts_of_the_item_and_follow_the_seed(made):
    with open_store(made.path) as store:
        dataset = store.dataset(frames=6)
        values = made.values["anna/1.wav"].T
        windows = {values[:, i : i + 6].tobytes() for i in range(14)}
        torch.manual_seed(0)
        crops = [dataset[1].spec.numpy().tobytes() for _ in range(200)]
        assert set(crops) == windows
        torch.manual_seed(0)
        assert [dataset[1].spec.numpy().tobytes() for _ in range(200)] == crops


def test_another_default_device_is_not_that_of_the_items(made):
    with open_store(made.path) as store:
        dataset = store.dataset(frames=4)
        torch.manual_seed(0)
        wanted = [item.spec for item in dataset]
        torch.manual_seed(0)
        with torch.device("meta"):
            items = [dataset[number] for number in range(len(dataset))]
            batch = dataset.collate(items)
    assert all(torch.equal(item.spec, spec) for item, spec in zip(items, wanted, strict=True))
    assert {batch.spec.device, batch.lengths.device, batch.labels.device} == {torch.device("cpu")}


def test_default_collate_works_for_items_of_one_length(made):
    with open_store(made.path) as store:
        (batch,) = DataLoader(store.dataset(frames=6), batch_size=6)
        assert batch.spec.shape == (6, 7, 6)
        assert batch.label.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "frames must be a whole number of at least 1, got 0"),
        ({"frames": 2.5}, "frames must be a whole number of at least 1, got 2.5"),
        ({"frames": True}, "frames must be a whole number of at least 1, got True"),
        ({"crop": "last"}, "crop must be 'random' or 'first', got 'last'"),
    ],
)
def test_refuses(made, options, message):
    with open_store(made.path) as store, pytest.raises(ParameterError, match=message):
        store.dataset(**options)


@pytest.mark.parametrize("value", [-80.0, 256.0, 0.5, float("nan")])
def test_padding_that_integers_cannot_hold_is_refused(tmp_path, value):
    made = make_store(tmp_path, small_layout(dtype="uint8"))
    with open_store(made.path, decode=False) as store:
        assert store.dataset(pad_value=255.0).pad_value == 255.0
        with pytest.raises(ParameterError, match=r"pad_value must fit uint8, as .*, got"):
            store.dataset(pad_value=value)
    with open_store(made.path) as store:
        assert store.dataset(pad_value=value).keys


def test_padding_that_floats_cannot_hold_is_refused(tmp_path):
    made = make_store(tmp_path, small_layout(dtype="float16"))
    with open_store(made.path, decode=False) as store:
        for value in (-65504.0, float("-inf"), float("nan")):
            assert store.dataset(pad_value=value).keys
        with pytest.raises(ParameterError, match=r"must fit float16, as .*, got -1000000000\.0"):
            store.dataset(pad_value=-1e9)
    with open_store(made.path) as store:
        assert store.dataset(pad_value=-1e9).keys
        with pytest.raises(ParameterError, match=r"pad_value must fit float32, got 1e\+39"):
            store.dataset(pad_value=1e39)


def test_names_an_unknown_key(made):
    with open_store(made.path) as store, pytest.raises(KeyError, match="did you mean"):
        store.dataset(keys=["anna/0"])


def test_items_without_a_label_have_class_minus_one(tmp_path):
    from .stores import merge, random_values, write_part

    layout = small_layout()
    part = write_part(tmp_path / "a", layout, {"plain.wav": random_values(layout, 3, 0)})
    merge([part], tmp_path / "out.h5", layout)
    with open_store(tmp_path / "out.h5") as store:
        assert store.classes == []
        assert store.dataset()[0].label == -1
        assert np.array_equal(store.dataset().labels, [-1])
