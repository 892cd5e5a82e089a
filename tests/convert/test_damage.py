"""Bytes that change: of a part before the store is joined, of settings before an update."""

import h5py
import numpy as np
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options
from specctl.convert.merging import Joining
from specctl.errors import StoreError
from tests.convert.audio_files import corpus, write_noise

HERE = Options(workers=0)


def test_a_part_that_rots_is_named_and_made_again_by_the_next_run(tmp_path, monkeypatch):
    folder, store = corpus(tmp_path / "in", 3), tmp_path / "out.h5"
    convert_audio(folder, tmp_path / "wanted.h5", options=HERE)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Joining, "finish", interrupted)
        convert_audio(folder, store, options=HERE)
    (part,) = tmp_path.glob("out.h5.parts/*.part")
    rotten = bytearray(part.read_bytes())
    rotten[len(rotten) // 3] ^= 1
    part.write_bytes(rotten)
    with pytest.raises(StoreError, match=r"000000\.part is damaged.*the same command"):
        convert_audio(folder, store, options=HERE)
    convert_audio(folder, store, options=HERE)
    with open_store(store) as made, open_store(tmp_path / "wanted.h5") as wanted:
        assert list(made) == list(wanted)
        for key in wanted:
            np.testing.assert_array_equal(made[key], wanted[key])
    assert not list(tmp_path.glob("*.parts"))


def test_settings_that_have_changed_are_not_gone_on_with(tmp_path):
    folder, store = corpus(tmp_path / "in", 3), tmp_path / "out.h5"
    convert_audio(folder, store, options=HERE, hop_length=160)
    with h5py.File(store, "r+") as file:
        config = file.attrs["config"].decode()
        file.attrs["config"] = np.bytes_(config.replace('"hop_length": 160', '"hop_length": 161'))
        assert file.attrs["config"].decode() != config
    write_noise(folder / "new.wav")
    before, update = store.read_bytes(), Options(workers=0, update=True)
    changed = "damaged: its settings do not match their fingerprint; convert again"
    with pytest.raises(StoreError, match=changed):
        convert_audio(folder, store, options=update, hop_length=161)
    assert store.read_bytes() == before
