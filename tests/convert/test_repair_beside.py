"""A repair of a store that something unfinished lies beside: both can be finished."""

import h5py
import pytest

from specctl import convert_audio, open_store
from specctl.convert import Control, Options, Stopped, folder, merging
from specctl.convert.folder import WorkFolder
from specctl.convert.repair import repair_store
from specctl.store.verify import verify_store
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import assert_nothing_beside, parts_of
from tests.convert.test_repair import contents, flip

HERE = Options(workers=0)
SETTINGS = {"n_fft": 512, "n_mels": 20}
N_NEW = 5


pytestmark = pytest.mark.usefixtures("small_parts")


@pytest.fixture
def source(tmp_path):
    return corpus(tmp_path / "in", 4)


@pytest.fixture
def store(source, tmp_path):
    (tmp_path / "out").mkdir()
    convert_audio(source, tmp_path / "out" / "o.h5", options=HERE, **SETTINGS)
    for number in range(N_NEW):
        write_noise(source / "y" / f"new{number}.wav", 1.2, seed=number + 50)
    return tmp_path / "out" / "o.h5"


def stopped(source, store, options):
    """Begin a conversion, and stop it after a few parts."""
    control = Control()

    def look(progress):
        if progress.stage == "converting" and progress.n_done >= 3:
            control.stop()

    with pytest.raises(Stopped):
        convert_audio(source, store, options=options, control=control, progress=look, **SETTINGS)
    parts = parts_of(store)
    assert len(parts) >= 3
    return parts


def killed(*_):
    raise ZeroDivisionError


def begin_repair(source, store, monkeypatch):
    """Damage a store, and end its repair before the new one gets its name."""
    with h5py.File(store, "r+") as file:
        file.attrs["created"] = "2001-01-01T00:00:00Z"
    with monkeypatch.context() as patched:
        patched.setattr(merging, "publish", killed)
        with pytest.raises(ZeroDivisionError):
            repair_store(store, source, options=HERE)


def arm(patched, call):
    """Have a call of the folder end a conversion, once its store is about to be published."""
    return lambda _: patched.setattr(WorkFolder, call, killed)


@pytest.mark.parametrize("labels", [None, "folder"], ids=["as-before", "other-labels"])
def test_an_unfinished_update_goes_on_after_a_repair(source, store, labels):
    update = Options(workers=0, update=True, labels=labels)
    parts = stopped(source, store, update)
    before = contents(store)
    flip(store)
    repair = repair_store(store, source, options=HERE)
    assert (len(repair.repaired), repair.problems) == (1, ())
    assert contents(store) == before
    assert parts_of(store) == parts
    summary = convert_audio(source, store, options=update, **SETTINGS)
    assert (summary.n_resumed, summary.n_converted) == (len(parts), N_NEW)
    assert verify_store(store) == []
    with open_store(store) as made:
        assert len(made) == 4 + N_NEW
        assert set(made.classes) == ({"x", "y", "z"} if labels else set())
    assert_nothing_beside(store)


def test_what_overwrites_the_store_is_not_forgotten(source, store):
    anew = Options(workers=0, overwrite=True)
    parts = stopped(source, store, anew)
    before = contents(store)
    flip(store)
    assert repair_store(store, source, options=HERE).problems == ()
    assert contents(store) == before
    assert parts_of(store) == parts
    assert convert_audio(source, store, options=anew, **SETTINGS).n_resumed == len(parts)
    assert_nothing_beside(store)


@pytest.mark.parametrize("call", ["publish", "adopt_repair", "remove"])
def test_a_repair_that_is_killed_can_be_given_again(source, store, monkeypatch, call):
    """Before the store gets its name, right after that, or when the update knows of it."""
    update = Options(workers=0, update=True)
    parts = stopped(source, store, update)
    before = contents(store)
    flip(store)
    with monkeypatch.context() as patched:
        if call == "publish":
            patched.setattr(merging, "publish", killed)
        else:
            patched.setattr(merging.Joining, "_check_place", arm(patched, call))
        with pytest.raises(ZeroDivisionError):
            repair_store(store, source, options=HERE)
    assert parts_of(store) == parts
    assert (verify_store(store) == []) == (call != "publish")
    if call == "publish":
        assert repair_store(store, source, options=HERE).problems == ()
    assert contents(store) == before
    assert convert_audio(source, store, options=update, **SETTINGS).n_resumed == len(parts)
    assert_nothing_beside(store)


def test_a_repair_that_is_never_finished_goes_with_the_update(source, store, monkeypatch):
    update = Options(workers=0, update=True)
    stopped(source, store, update)
    begin_repair(source, store, monkeypatch)
    convert_audio(source, store, options=update, **SETTINGS)
    assert verify_store(store) == []
    assert_nothing_beside(store)


def test_a_job_that_cannot_be_read_does_not_keep_a_store_damaged(source, store):
    """Of a newer version, perhaps, or cut by a full disk; it is not the repair's to judge."""
    parts = stopped(source, store, Options(workers=0, update=True))
    job = store.with_name("o.h5.parts") / "job.json"
    job.write_text("{")
    before = contents(store)
    flip(store)
    assert repair_store(store, source, options=HERE).problems == ()
    assert contents(store) == before
    assert parts_of(store) == parts
    assert job.read_text() == "{"
    assert not (job.parent / "repair").exists()
    assert repair_store(store, source, options=HERE).problems == ()


@pytest.mark.parametrize(
    "options",
    [{"update": True, "labels": "folder"}, {"update": True, "exclude": ("q",)}, {}],
    ids=["labels", "fewer-files", "as-made"],
)
def test_a_repair_that_is_never_finished_stands_in_nobodys_way(
    source, store, monkeypatch, options
):
    """Told to pass --overwrite, one would lose what has no sources any longer."""
    begin_repair(source, store, monkeypatch)
    summary = convert_audio(source, store, options=Options(workers=0, **options), **SETTINGS)
    assert summary.status == ("updated" if options else "complete")
    assert repair_store(store, source, options=HERE).problems == ()
    assert verify_store(store) == []
    assert_nothing_beside(store)


def test_what_is_begun_right_before_the_repair_has_its_lock_is_not_forgotten(
    source, store, monkeypatch
):
    flip(store)
    update = Options(workers=0, update=True)
    parts = {}

    def begun_before(*arguments):
        monkeypatch.setattr(folder, "lock_folder", lock_folder)
        parts.update(stopped(source, store, update))
        return lock_folder(*arguments)

    lock_folder = folder.lock_folder
    monkeypatch.setattr(folder, "lock_folder", begun_before)
    assert repair_store(store, source, options=HERE).problems == ()
    assert parts_of(store) == parts
    summary = convert_audio(source, store, options=update, **SETTINGS)
    assert (summary.n_resumed, summary.n_converted) == (len(parts), N_NEW)
    assert_nothing_beside(store)
