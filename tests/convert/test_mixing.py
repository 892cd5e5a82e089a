"""What must not come together in one store: parts, kernels and updates of others."""

import shutil
from dataclasses import replace

import pytest

from specctl import convert_audio, open_store
from specctl.convert import Options
from specctl.errors import StoreError
from specctl.store.verify import verify_store
from tests.convert.audio_files import write_noise
from tests.convert.commands import assert_same, parts_of
from tests.convert.unfinished import stop_after_parts

pytestmark = pytest.mark.usefixtures("small_parts")
HERE = Options(workers=0)
UPDATE = Options(workers=0, update=True)
SETTINGS = {"n_fft": 512, "n_mels": 20}


def arrays(store):
    with open_store(store) as opened:
        return {key: opened[key] for key in opened}


def test_parts_of_another_conversion_are_not_taken(folder, store, tmp_path, monkeypatch):
    # nothing is joined before the end
    monkeypatch.setattr("specctl.convert.merging.WORTH_A_THREAD", 100)
    stop_after_parts(folder, store, 4, HERE, **{**SETTINGS, "n_fft": 1024})
    strange = dict(parts_of(store))
    work = store.parent / "o.h5.parts"
    kept = {name: (work / name).read_bytes() for name in strange}
    shutil.rmtree(work)
    stop_after_parts(folder, store, 4, HERE, **SETTINGS)
    for name, content in kept.items():
        (work / name).write_bytes(content)

    def bring(progress):
        # a worker of the other conversion is still at work
        if progress.stage == "writing the store":
            (work / name).write_bytes(kept[name])

    with pytest.raises(StoreError, match="is of another conversion; the same command makes it"):
        convert_audio(folder, store, options=HERE, progress=bring, **SETTINGS)
    convert_audio(folder, store, options=HERE, **SETTINGS)
    convert_audio(folder, tmp_path / "wanted.h5", options=HERE, **SETTINGS)
    assert_same(store, tmp_path / "wanted.h5")


def test_a_store_is_of_one_kernel(folder, tmp_path):
    store, other = tmp_path / "conv.h5", Options(workers=0, kernel="conv")
    convert_audio(folder, store, options=other, **SETTINGS)
    write_noise(folder / "new.wav")
    with pytest.raises(StoreError, match="kernel conv there, fft here"):
        convert_audio(folder, store, options=replace(UPDATE, kernel="fft"), **SETTINGS)
    with pytest.raises(StoreError, match="kernel conv there, fft here"):
        convert_audio(folder, store, options=Options(workers=0, kernel="fft"), **SETTINGS)
    stop_after_parts(folder, tmp_path / "begun.h5", 1, other, **SETTINGS)
    with pytest.raises(StoreError, match="kernel conv there, fft here"):
        options = Options(workers=0, kernel="fft")
        convert_audio(folder, tmp_path / "begun.h5", options=options, **SETTINGS)
    for path, options in [(store, UPDATE), (tmp_path / "begun.h5", Options(workers=0))]:
        assert convert_audio(folder, path, options=options, **SETTINGS).kernel == "conv"
    convert_audio(folder, tmp_path / "wanted.h5", options=other, **SETTINGS)
    for path in (store, tmp_path / "begun.h5"):
        made, wanted = arrays(path), arrays(tmp_path / "wanted.h5")
        assert made.keys() == wanted.keys()
        assert all((made[key] == wanted[key]).all() for key in wanted)


def test_what_was_begun_for_another_store_is_begun_anew(folder, store, tmp_path):
    convert_audio(folder, store, options=HERE, **SETTINGS)
    older = tmp_path / "older.h5"
    shutil.copy(store, older)
    write_noise(folder / "y" / "first.wav")
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    for number in range(4):
        write_noise(folder / "y" / f"last {number}.wav")
    stop_after_parts(folder, store, 1, UPDATE, **SETTINGS)
    # a backup that has not got what the first update had added
    shutil.copy(older, store)
    assert convert_audio(folder, store, options=UPDATE, **SETTINGS).n_converted == 5
    convert_audio(folder, tmp_path / "wanted.h5", options=HERE, **SETTINGS)
    assert set(arrays(store)) == set(arrays(tmp_path / "wanted.h5"))
    assert verify_store(store) == []
