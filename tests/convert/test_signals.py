"""Ctrl-C and SIGTERM: finish the parts in hand, say how to go on; a second time, stop now."""

import os
import signal
import time

import pytest

from specctl import convert_audio
from specctl.convert import Options
from specctl.words import counted
from tests.convert.audio_files import corpus
from tests.convert.commands import (
    PartsSeen,
    assert_nothing_beside,
    assert_same,
    group_members,
    parts_of,
    run,
    seen_parts,
    started,
    wait_for,
)
from tests.convert.stub_decoder import StubDecoder

FLAGS = ("--n-fft", 1024, "--hop-length", 64, "--n-mels", 20)
SETTINGS = {"n_fft": 1024, "hop_length": 64, "n_mels": 20}
AT_ONCE = 5.0
"""Seconds; a machine with much else to do needs some of them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return corpus(tmp_path_factory.mktemp("signals") / "in", 40, seconds=2)


@pytest.fixture(scope="module")
def wanted(folder):
    store = folder.parent / "wanted.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specctl.convert.plan._SMALLEST_PART", 1)
        convert_audio(folder, store, options=Options(workers=0), **SETTINGS)
    return store


@pytest.fixture
def stub(tmp_path):
    return StubDecoder(tmp_path / "stub")


@pytest.fixture
def hanging(tmp_path, stub):
    """A file whose second opening never ends, in a folder with others."""
    folder = corpus(tmp_path / "in", 3)
    stub.write(folder / "zz.m4a", "hang", 1)
    return folder / "zz.m4a"


@pytest.mark.parametrize(
    ("number", "to_all", "code", "name"),
    [
        (signal.SIGINT, True, 130, "Ctrl-C"),
        pytest.param(signal.SIGTERM, False, 143, "SIGTERM", marks=pytest.mark.thorough),
        (signal.SIGTERM, True, 143, "SIGTERM"),
    ],
    ids=["ctrl-c", "sigterm", "sigterm-to-the-group"],
)
def test_a_signal_finishes_the_parts_in_hand(folder, tmp_path, wanted, number, to_all, code, name):
    store = tmp_path / "o.h5"
    with started(folder, store, *FLAGS, "--workers", 2) as process:
        wait_for(lambda: parts_of(store), "the first part", process)
        (os.killpg if to_all else os.kill)(process.pid, number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (code, ""), errors
    waiting, stopped, resume = errors.splitlines()
    assert waiting == f"{name}: finishing the parts in hand; once more stops at once"
    parts = parts_of(store)
    assert stopped == (
        f"specctl: stopped: {len(parts)} of 40 parts are done; the same command goes on from there"
    )
    assert resume == (
        f"specctl: to go on: specctl convert {folder} {store} --n-fft 1024 --hop-length 64 "
        "--n-mels 20 --workers 2"
    )
    # finished, not cut off
    assert not list((tmp_path / "o.h5.parts").glob("*.tmp-*"))
    assert not store.exists()
    seen = PartsSeen(store)
    if number == signal.SIGINT:
        done = run(*resume.split()[6:], small_parts=True, tell_parts=True)
        assert done.returncode == 0, done.stderr
        assert f"({counted(len(parts), 'part')} done before)" in done.stderr
        seen.parts = seen_parts(store)
    else:
        convert_audio(folder, store, options=Options(workers=0), progress=seen, **SETTINGS)
    assert {part: seen.parts[part] for part in parts} == parts
    assert_same(store, wanted)
    assert_nothing_beside(store)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)]
)
def test_a_second_signal_stops_in_the_middle_of_a_file(hanging, stub, tmp_path, workers, number):
    folder = hanging.parent
    store = tmp_path / "out" / "o.h5"
    store.parent.mkdir()
    with started(folder, store, *FLAGS, "--workers", workers, env=stub.environment) as process:
        wait_for(lambda: stub.n_opened(hanging) == 2, "the hang", process)
        os.kill(process.pid, number)
        assert "finishing the parts in hand" in process.stderr.readline()
        os.kill(process.pid, number)
        before = time.monotonic()
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - before < AT_ONCE
        wait_for(lambda: not list(group_members(process.pid)), "the workers", seconds=AT_ONCE)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], errors
    now, stopped, resume = errors.splitlines()
    assert now.endswith(": stopping now")
    assert stopped.startswith("specctl: stopped")
    assert resume.startswith("specctl: to go on: specctl convert ")
    hanging.unlink()
    (store.parent / "o.h5.parts" / "job.json").unlink()
    convert_audio(folder, store, options=Options(workers=0), **SETTINGS)
    assert_nothing_beside(store)


def test_a_signal_while_headers_are_read_leaves_nothing(hanging, stub, tmp_path):
    folder = hanging.parent
    stub.write(hanging, "hang", 0)
    store = tmp_path / "out" / "o.h5"
    store.parent.mkdir()
    with started(folder, store, *FLAGS, "--workers", 2, env=stub.environment) as process:
        wait_for(lambda: stub.n_opened(hanging) == 1, "the hang", process)
        os.kill(process.pid, signal.SIGINT)
        assert "finishing" in process.stderr.readline()
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert list(store.parent.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_while_the_workers_start_leaves_nothing(folder, tmp_path, number):
    store = tmp_path / "out" / "o.h5"
    store.parent.mkdir()
    with started(folder, store, *FLAGS, "--workers", 2) as process:
        wait_for((store.parent / "o.h5.parts" / "lock").exists, "the lock", process)
        # the fork server is there and importing
        wait_for(lambda: len(list(group_members(process.pid))) > 2, "the fork server", process)
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], errors
    assert errors.splitlines()[1] == "specctl: stopped before the first file"
    assert list(store.parent.iterdir()) == []
