"""Who may read a store stays who may read it, also while it is made anew."""

import errno
import os
import struct

import pytest

from specctl import convert_audio
from specctl.convert import Options
from specctl.errors import StoreError
from tests.convert.audio_files import corpus, write_noise
from tests.convert.commands import assert_nothing_beside

UPDATE = Options(workers=0, update=True)
SETTINGS = {"n_fft": 512, "n_mels": 20}


@pytest.fixture
def folder(tmp_path):
    return corpus(tmp_path / "in", 3)


@pytest.fixture
def store(folder, tmp_path):
    (tmp_path / "out").mkdir()
    convert_audio(folder, tmp_path / "out" / "o.h5", options=Options(workers=0), **SETTINGS)
    write_noise(folder / "y" / "new.wav", 1.5, seed=50)
    return tmp_path / "out" / "o.h5"


@pytest.mark.parametrize("how", ["update", "overwrite"])
def test_who_may_read_a_store_is_not_changed(folder, store, how):
    store.chmod(0o640)
    convert_audio(folder, store, options=Options(workers=0, **{how: True}), **SETTINGS)
    assert store.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user cannot give a file away")
def test_an_update_by_root_leaves_the_store_to_its_owner(folder, store):
    os.chown(store, 65534, 65533)
    store.chmod(0o600)
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    status = store.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65534, 65533, 0o600)


@pytest.mark.parametrize("how", ["update", "overwrite"])
@pytest.mark.parametrize(
    ("mode", "wanted"), [(0o600, 0o700), (0o640, 0o750), (0o644, 0o755)], ids=oct
)
def test_no_stranger_may_look_at_the_parts_of_a_private_store(folder, store, how, mode, wanted):
    store.chmod(mode)
    seen = set()

    def look(progress):
        seen.add((store.parent / "o.h5.parts").stat().st_mode & 0o777)

    before = os.umask(0o022)
    try:
        options = Options(workers=0, **{how: True})
        convert_audio(folder, store, options=options, progress=look, **SETTINGS)
    finally:
        os.umask(before)
    assert seen == {wanted}
    assert store.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has few groups")
def test_a_group_that_cannot_be_kept_is_not_replaced_by_another(folder, store, monkeypatch):
    os.chown(store, -1, 65533)
    store.chmod(0o640)

    def refusing(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refusing)
    seen = set()

    def look(progress):
        seen.add((store.parent / "o.h5.parts").stat().st_mode & 0o777)

    convert_audio(folder, store, options=UPDATE, progress=look, **SETTINGS)
    assert seen == {0o700}
    assert store.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has few groups")
@pytest.mark.parametrize("mode", [0o640, 0o644], ids=oct)
def test_a_group_that_shares_the_folder_can_go_on_where_it_may_read_the_store(folder, store, mode):
    """The store has come from elsewhere, with a group of its own."""
    os.chown(store.parent, -1, 65532)
    store.parent.chmod(0o2775)
    os.chown(store, -1, 65533)
    store.chmod(mode)
    seen = set()

    def look(progress):
        status = (store.parent / "o.h5.parts").stat()
        seen.add((status.st_gid, status.st_mode & 0o777))

    before = os.umask(0o002)
    try:
        convert_audio(folder, store, options=UPDATE, progress=look, **SETTINGS)
    finally:
        os.umask(before)
    assert seen == {(65532, 0o775) if mode == 0o644 else (65533, 0o770)}
    assert (store.stat().st_gid, store.stat().st_mode & 0o777) == (65533, mode)


ACL = "system.posix_acl_access"


def grant(path, group, stranger):
    """Let the file's own group and user 65534 do so much (read 4, write 2) by an access list."""
    user_obj, user, group_obj, mask, other = 1, 2, 4, 16, 32
    entries = [(user_obj, 6), (user, stranger), (group_obj, group), (mask, 6), (other, 0)]
    packed = [
        struct.pack("<HHI", tag, rights, 65534 if tag == user else 0xFFFFFFFF)
        for tag, rights in entries
    ]
    try:
        os.setxattr(path, ACL, b"\2\0\0\0" + b"".join(packed))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("the file system has no access lists")


needs_lists = pytest.mark.skipif(not hasattr(os, "setxattr"), reason="lists as Linux has them")


@needs_lists
@pytest.mark.parametrize("how", ["update", "overwrite"])
def test_an_access_list_stays_what_it_is(folder, store, how):
    grant(store, group=0, stranger=6)
    before = os.getxattr(store, ACL)
    seen = set()

    def look(progress):
        seen.add((store.parent / "o.h5.parts").stat().st_mode & 0o777)

    options = Options(workers=0, **{how: True})
    convert_audio(folder, store, options=options, progress=look, **SETTINGS)
    assert os.getxattr(store, ACL) == before
    # the mode of the store has the mask of its list where the rights of the group stand else
    assert seen == {0o700}


@needs_lists
def test_an_access_list_that_cannot_be_kept_gives_the_group_no_more(folder, store, monkeypatch):
    grant(store, group=4, stranger=6)

    def refusing(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setxattr", refusing)
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert store.stat().st_mode & 0o777 == 0o640


@needs_lists
def test_a_folder_whose_files_get_a_list_gives_none_to_a_store_without(folder, store):
    store.chmod(0o640)
    grant(folder / "x" / "000.wav", group=4, stranger=6)
    default = os.getxattr(folder / "x" / "000.wav", ACL)
    os.setxattr(store.parent, "system.posix_acl_default", default)
    convert_audio(folder, store, options=UPDATE, **SETTINGS)
    assert ACL not in os.listxattr(store)
    assert store.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("how", ["update", "overwrite"])
def test_a_store_that_only_its_owner_may_replace_is_refused_before_the_work(
    folder, store, monkeypatch, how
):
    """As in /tmp; what lies beside it would keep its owner from going on."""
    store.parent.chmod(0o1777)
    stranger = max(store.stat().st_uid, store.parent.stat().st_uid) + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    options = Options(workers=0, **{how: True})
    with pytest.raises(
        StoreError, match=r"cannot write .*o\.h5: .* only its owner may replace it"
    ):
        convert_audio(folder, store, options=options, **SETTINGS)
    assert_nothing_beside(store)
    # to look whether it is complete, nothing is written
    assert (
        convert_audio(folder, store, options=Options(workers=0), **SETTINGS).status == "complete"
    )
    store.parent.chmod(0o777)
    convert_audio(folder, store, options=options, **SETTINGS)
    assert_nothing_beside(store)
