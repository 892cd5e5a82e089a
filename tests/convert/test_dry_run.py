"""``--dry-run``: what a conversion would do, told from a few files."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from specctl import convert_audio
from specctl.cli import convert  # noqa: F401 - registers the command
from specctl.cli.app import app
from specctl.convert import Options, estimate, estimate_conversion, plan, planning
from specctl.errors import StoreError
from specctl.words import size
from tests.convert.audio_files import write_noise
from tests.convert.commands import invoke
from tests.convert.unfinished import stop_after_parts

pytestmark = pytest.mark.usefixtures("small_parts")
HERE = Options(workers=0)
SETTINGS = {"n_fft": 512, "n_mels": 20}
FLAGS = ("--n-fft", 512, "--n-mels", 20)


def test_a_dry_run_tells_how_much_is_done_and_touches_nothing(folder, store):
    def estimated(**options):
        options = Options(workers=0, **options)
        return estimate_conversion(folder, store, options=options, **SETTINGS)

    stop_after_parts(folder, store, 4, HERE, **SETTINGS)
    write_noise(folder / "x" / "later.wav")
    before = {path: path.read_bytes() for path in store.parent.rglob("*") if path.is_file()}
    estimate = estimated()
    assert (estimate.n_found, estimate.n_parts_done, estimate.n_parts) == (9, 4, 9)
    assert estimate.n_since == 1
    with pytest.raises(StoreError, match="unfinished conversion with other settings: n_fft 512"):
        estimate_conversion(folder, store, options=HERE, n_fft=256)
    assert {path: path.read_bytes() for path in before} == before
    assert set(before) == {path for path in store.parent.rglob("*") if path.is_file()}
    told = invoke(folder, store, *FLAGS, "--dry-run")
    assert told.stdout.splitlines()[-2:] == [
        "1 file came after it was begun: --update adds it",
        "4 of 9 parts are done before",
    ]
    convert_audio(folder, store, options=HERE, **SETTINGS)
    size = store.stat().st_size
    assert size / 4 < estimate.n_bytes < size * 4
    assert estimated().is_nothing


def test_parts_that_are_done_count_as_what_they_add_to_the_store(tmp_path, store, monkeypatch):
    """Those of short items are larger."""
    monkeypatch.setattr(plan, "_PARTS_WANTED", 4)
    for number in range(200):
        write_noise(tmp_path / "in" / f"{number:03d}.wav", seconds=0.02)
    settings = {**SETTINGS, "compression": "none"}
    stop_after_parts(tmp_path / "in", store, 150, HERE, **settings)
    half_done = estimate_conversion(tmp_path / "in", store, options=HERE, **settings)
    assert 0 < half_done.n_parts_done < half_done.n_parts
    whole = estimate_conversion(tmp_path / "in", options=HERE, **settings)
    assert half_done.n_bytes == pytest.approx(whole.n_bytes, rel=0.02)


def test_too_little_room_is_said(folder, store, monkeypatch):
    def told(*flags):
        given = ["convert", str(folder), str(store), *map(str, FLAGS), "--workers", "0", *flags]
        return CliRunner().invoke(app, [*given, "--dry-run"]).stdout.splitlines()

    monkeypatch.setattr(estimate, "_free_bytes", lambda _: 12_000)
    wanted = estimate_conversion(folder, store, options=HERE, **SETTINGS)
    assert (wanted.needed_bytes, wanted.free_bytes) == (2 * wanted.n_bytes, 12_000)
    together = size(wanted.needed_bytes)
    assert told()[-1] == (
        f"too little room: parts and store need {together} together, 12 kB are free"
    )
    convert_audio(folder, store, options=HERE, **SETTINGS)
    write_noise(folder / "x" / "new.wav")
    updating = Options(workers=0, update=True)
    wanted = estimate_conversion(folder, store, options=updating, **SETTINGS)
    assert wanted.needed_bytes == 2 * wanted.n_bytes + store.stat().st_size
    monkeypatch.undo()
    assert "work on this machine" in told("--update")[-1]


def test_labels_that_do_not_fit_are_told_before_the_work(folder, store, tmp_path):
    """Rather than after hours of it."""
    table = tmp_path / "labels.csv"
    table.write_text("path,label\nx/000.wav,noise\nx/never.wav,noise\nx/nor.wav,noise\n")
    flags = (*FLAGS, "--labels", table, "--workers", 0)
    wanted = ["8 files without a label", "2 labels for files that were not found"]
    assert invoke(folder, store, *flags, "--dry-run").stdout.splitlines()[-2:] == wanted
    # as the conversion itself says, and where all is done
    assert set(wanted) < {*invoke(folder, store, *flags).stderr.splitlines()}
    told = invoke(folder, store, *flags, "--dry-run", "--update")
    assert told.stdout.splitlines() == ["nothing to do, 9 unchanged", *wanted]


def test_where_nothing_tells_how_long_files_are_few_are_tried(folder, monkeypatch):
    tried = []

    def part_job(**fields):
        tried.append(len(fields["sources"]))
        return made(**fields)

    def planned(*args):
        return [replace(source, seconds=0.0) for source in before(*args)]

    made, before = estimate.PartJob, planning.planned
    monkeypatch.setattr(planning, "planned", planned)
    monkeypatch.setattr(estimate, "PartJob", part_job)
    for number in range(40):
        write_noise(folder / "long" / f"{number:02d}.wav", 10)
    assert estimate_conversion(folder, options=HERE, **SETTINGS).n_found == 49
    assert 8 <= tried[0] <= 12


def test_a_list_of_files_is_enough(folder, store):
    (folder / "list").write_text("x/000.wav\ny/001.flac\n")
    for paths in ((), (store,), (folder / "x" / "003.flac",)):
        told = invoke("--files-from", folder / "list", *paths, *FLAGS, "--dry-run", "--json")
        n_found = 3 if paths and paths[0] != store else 2
        assert (told.returncode, json.loads(told.stdout)["n_found"]) == (0, n_found), told.stderr


def test_of_files_that_are_all_long_one_is_enough(folder, monkeypatch):
    rehearsed = []

    def part_job(**fields):
        rehearsed.extend(source.key for source in fields["sources"])
        return made(**fields)

    made = estimate.PartJob
    monkeypatch.setattr(estimate, "PartJob", part_job)
    found = estimate_conversion(folder, options=HERE, **SETTINGS)
    assert len(rehearsed) == 9
    rehearsed.clear()
    monkeypatch.setattr(estimate, "_LONGEST_SAMPLE", 0.5)
    again = estimate_conversion(folder, options=HERE, **SETTINGS)
    # the shortest
    assert rehearsed == ["x/000.wav"]
    assert found.n_bytes / 2 < again.n_bytes < found.n_bytes * 2


def test_a_folder_that_may_not_be_written_is_named_at_once(read_only_folder):
    with pytest.raises(StoreError, match=f"cannot write in {read_only_folder}; give the store an"):
        estimate_conversion("no files are looked for yet", read_only_folder / "o.h5")
