"""A repair that was killed, and what may happen before it is given again."""

import pytest

from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus, write_noise
from tests.faults.sweep import FLAGS, contents, damage


@pytest.fixture
def source(tmp_path):
    return corpus(tmp_path / "in", 3, seconds=0.2)


@pytest.fixture
def store(tmp_path, source, sweep):
    """A store of three items of which one is damaged, and beside it a repair that was killed."""
    store = tmp_path / "out" / "o.h5"
    store.parent.mkdir()
    assert sweep.runner.run("convert", source, store, *FLAGS).code == 0
    damage(store, chunk=1)
    shim = {"place": str(store.parent), "point": "rename o.h5.parts/merged", "fault": "kill"}
    assert repaired(sweep, source, store, shim=shim).code == -9
    assert len(list(store.parent.glob("o.h5.parts/*.part"))) == 1
    return store


def repaired(sweep, source, store, **options):
    return sweep.runner.run("verify", store, source, "--repair", "--workers", 0, **options)


def test_further_damage_is_repaired_too(sweep, source, store):
    damage(store, chunk=0)
    ended = repaired(sweep, source, store)
    assert ended.code == 0, ended.errors
    assert "repaired: 2 items made again" in ended.output
    assert verify_store(store) == []
    assert list(store.parent.iterdir()) == [store]


def test_an_update_in_between_does_not_take_its_place(sweep, source, store):
    write_noise(source / "y" / "new.wav", 0.2, seed=9)
    before = contents(store)
    update = ("convert", source, store, *FLAGS, "--update")
    ended = sweep.runner.run(*update)
    assert ended.code == 1
    assert ended.errors.startswith(f"specctl: {store} is damaged: chunk 1 of /spectrogram ")
    assert contents(store) == before
    ended = repaired(sweep, source, store)
    assert ended.code == 0, ended.errors
    assert "3 items" in ended.output
    ended = sweep.runner.run(*update)
    assert ended.code == 0, ended.errors
    assert "4 items" in ended.errors
    assert verify_store(store) == []
    assert list(store.parent.iterdir()) == [store]
