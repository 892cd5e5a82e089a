"""How files become items: segments, stored types, labels, names, and which files are taken."""

import errno
import os
from dataclasses import replace

import h5py
import numpy as np
import pytest

from specctl import convert_audio, open_store
from specctl.audio.decode import AudioReader
from specctl.audio.names import decode_key
from specctl.convert import Options, held, items, tiles
from specctl.convert.plan import PlannedSource, row_bytes, stored_bytes
from specctl.convert.settings import ConvertConfig
from specctl.errors import AudioError, ParameterError, StoreError
from specctl.store.spill import UnnamedFile
from specctl.store.verify import verify_store
from specctl.training.labels import find_labelled
from tests.convert.audio_files import RATE, corpus, noise, write, write_noise

HERE = Options(workers=0)
STFT = {"feature": "magnitude", "n_fft": 256, "hop_length": 64}


def convert(sources, store, options=HERE, **job):
    summary = convert_audio(sources, store, options=options, **job)
    with open_store(store) as opened:
        return summary, {key: opened[key] for key in opened}


def stretches(n_samples, overlap, tail):
    """Where segments of 8000 samples begin."""
    length, step = 8000, 8000 - round(overlap * RATE)
    kept = [start for start in range(0, n_samples, step) if start + length <= n_samples]
    last_end = kept[-1] + length if kept else 0
    if tail == "pad" and last_end < n_samples:
        kept.append(kept[-1] + step if kept else 0)
    return kept


@pytest.mark.parametrize("tail", ["pad", "drop"])
@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_segments_are_stretches_of_the_file(tmp_path, tail, overlap):
    job = {"segment": 0.5, "overlap": overlap, "tail": tail, **STFT}
    config = ConvertConfig.resolve(sample_rate=RATE, **job)
    wanted, too_short = {}, {}
    for n_samples in (1, 7999, 8000, 8001, 12_000, 20_000, 20_001, 50_000):
        samples = noise(n_samples, seed=6)
        name = f"{n_samples}.wav"
        write(tmp_path / "in" / name, samples, subtype="FLOAT")
        kept = stretches(n_samples, overlap, tail)
        source = PlannedSource(name, "", 0, 0, RATE, 1, n_samples / RATE, "")
        assert stored_bytes(source, config) == len(kept) * 126 * row_bytes(config)
        if not kept:
            too_short[name] = "shorter than a segment of 0.5 s; convert with tail pad to keep it"
        for number, start in enumerate(kept):
            piece = samples[start : start + 8000]
            padded = np.pad(piece, ((0, 8000 - len(piece)), (0, 0)))
            write(
                tmp_path / "pieces" / f"{name}#s{number:05d}",
                padded,
                format="WAV",
                subtype="FLOAT",
            )
            wanted[f"{name}#s{number:05d}"] = start
    summary, values = convert(tmp_path / "in", tmp_path / "o.h5", **job)
    assert (summary.n_items, dict(summary.failures)) == (len(wanted), too_short)
    with open_store(tmp_path / "o.h5") as store:
        assert {record.key: record.offset for record in store.records} == wanted
        assert {record.n_samples for record in store.records} == {8000}
    pieces = sorted((tmp_path / "pieces").iterdir())
    _, alone = convert(pieces, tmp_path / "pieces.h5", **STFT)
    assert alone.keys() == values.keys()
    for key, spec in values.items():
        assert spec.shape == (129, 126)
        np.testing.assert_array_equal(spec, alone[key])


@pytest.mark.parametrize(
    "settings",
    [{}, {"ref": "max", "top_db": 60.0}, {"pad_mode": "reflect", "overlap": 0.9}],
    ids=["defaults", "ref-max", "overlap"],
)
@pytest.mark.parametrize("tail", ["pad", "drop"])
def test_segments_that_wait_on_the_disk_are_the_same(tmp_path, monkeypatch, tail, settings):
    write_noise(tmp_path / "in" / "a.wav", 4.3)
    write_noise(tmp_path / "in" / "b.wav", 1, seed=1)
    job = {"segment": 1.3, "tail": tail, "n_fft": 256, "hop_length": 100, **settings}
    _, wanted = convert(tmp_path / "in", tmp_path / "memory.h5", **job)
    monkeypatch.setattr(held, "_MEMORY_SAMPLES", 0)
    monkeypatch.setattr(held, "_PIECE_SAMPLES", 1000)
    monkeypatch.setattr(tiles, "_TILE_SAMPLES", 2**13)
    monkeypatch.setattr(tiles, "_SMALL_TILE_SAMPLES", 2**13)
    _, values = convert(tmp_path / "in", tmp_path / "disk.h5", **job)
    assert list(values) == list(wanted)
    for key, spec in values.items():
        np.testing.assert_array_equal(spec, wanted[key])
    assert sorted(os.listdir(tmp_path)) == ["disk.h5", "in", "memory.h5"]


def test_a_full_disk_for_a_segment_is_no_fault_of_a_file(tmp_path, monkeypatch):
    write_noise(tmp_path / "in" / "a.wav", 2)
    monkeypatch.setattr(held, "_MEMORY_SAMPLES", 0)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(UnnamedFile, "write", full)
    with pytest.raises(StoreError, match="No space left on device"):
        convert(tmp_path / "in", tmp_path / "o.h5", segment=0.5, **STFT)


def test_a_file_shorter_than_a_segment_among_others_is_a_failure_when_tails_are_dropped(tmp_path):
    write_noise(tmp_path / "in" / "a.wav", 2)
    write_noise(tmp_path / "in" / "b.wav", 0.4)
    job = {"segment": 0.5, "tail": "drop", **STFT}
    summary, values = convert(tmp_path / "in", tmp_path / "o.h5", **job)
    reason = "shorter than a segment of 0.5 s; convert with tail pad to keep it"
    assert summary.failures == (("b.wav", reason),)
    assert len(values) == 4


def test_segments_of_channels_have_keys_of_both(tmp_path):
    write(tmp_path / "in" / "a.wav", noise(RATE, 2))
    job = {"segment": 0.5, "channels": "each", **STFT}
    _, values = convert(tmp_path / "in", tmp_path / "o.h5", **job)
    assert list(values) == [f"a.wav#ch{c}#s0000{s}" for c in (0, 1) for s in (0, 1)]


def test_channels_are_decoded_once_if_they_fit_memory(tmp_path, monkeypatch):
    """A file of 64 channels would be decoded 64 times; the values are the same.

    Of those that do not all fit, as many as do are taken from one pass.
    """
    write(tmp_path / "in" / "a.flac", noise(RATE, 5))
    blocks, passes = AudioReader.blocks, []
    monkeypatch.setattr(AudioReader, "blocks", lambda *given: passes.append(1) or blocks(*given))
    job = {"channels": "each", "sample_rate": RATE // 2, **STFT}
    _, once = convert(tmp_path / "in", tmp_path / "once.h5", **job)
    assert len(passes) == 1
    assert list(once) == [f"a.flac#ch{channel}" for channel in range(5)]
    # the last sample is one too many
    for n_fitting, n_passes in ((5, 2), (3, 3), (2, 5), (1, 5)):
        passes.clear()
        monkeypatch.setattr(items, "_KEPT_SAMPLES", n_fitting * RATE - 1)
        _, again = convert(tmp_path / "in", tmp_path / f"{n_fitting}.h5", **job)
        assert len(passes) == n_passes
        for key, values in once.items():
            np.testing.assert_array_equal(again[key], values)


def test_a_name_that_looks_like_a_segment_stays_apart(tmp_path):
    for name in ("a.wav", "a.wav#s00001.wav", "a.wav#ch0.wav"):
        write_noise(tmp_path / "in" / name, 1.2)
    _, values = convert(tmp_path / "in", tmp_path / "o.h5", segment=0.5, **STFT)
    assert len(values) == 9


@pytest.mark.parametrize(
    ("job", "compressions"),
    [
        ({}, ("none", "gzip")),
        ({"ref": "max", "top_db": 80.0}, ("gzip", "none")),
        ({"scale": "ln", "feature": "power"}, ("none", "gzip")),
        ({"scale": "log10", "feature": "magnitude", "amin": 1e-3}, ("gzip", "none")),
    ],
    ids=["db", "ref-max", "ln", "log10"],
)
def test_a_stored_type_keeps_the_error_it_states(tmp_path, job, compressions):
    write(tmp_path / "in" / "full.wav", np.sign(noise(RATE, seed=1)), subtype="FLOAT")
    write(tmp_path / "in" / "silent.wav", noise(RATE) * 0, subtype="FLOAT")
    write_noise(tmp_path / "in" / "usual.wav", seed=2)
    job = {"n_fft": 512, **job}
    _, exact = convert(tmp_path / "in", tmp_path / "exact.h5", **job)
    dtypes = ("float32", "float16", "int16", "uint8")
    for dtype, compression in zip(dtypes, 2 * compressions, strict=True):
        path = tmp_path / f"{dtype}.h5"
        stored = {"dtype": dtype, "compression": compression}
        _, values = convert(tmp_path / "in", path, **job, **stored)
        with h5py.File(path) as file:
            dataset = file["spectrogram"]
            assert dataset.dtype == dtype
            assert dataset.compression == {"none": None, "gzip": "gzip"}[compression]
            max_error = dataset.attrs["max_error"]
            # by the two attributes alone, as any reader of CF conventions would
            scale = float(dataset.attrs.get("scale_factor", 1.0))
            offset = dataset.attrs.get("add_offset", 0)
            first = dataset[: exact["full.wav"].shape[1]] * scale + float(offset)
        assert max_error == 0 if dtype == "float32" else 0 < max_error < 0.3
        for key, wanted in exact.items():
            assert np.abs(values[key] - wanted).max() <= max_error
        assert np.abs(first.T - exact["full.wav"]).max() <= max_error * (1 + 1e-6)
        assert verify_store(path) == []


def test_a_type_that_cannot_hold_the_values_is_refused_before_anything_is_begun(tmp_path):
    source = write_noise(tmp_path / "a.wav")
    with pytest.raises(ParameterError, match="dtype must be float32 for values up to"):
        convert(source, tmp_path / "out.h5", feature="power", dtype="float16", n_fft=512)
    assert os.listdir(tmp_path) == ["a.wav"]


def test_labels_by_folder(tmp_path):
    corpus(tmp_path / "in", 4)
    write_noise(tmp_path / "in" / "loose.wav")
    summary, _ = convert(
        tmp_path / "in", tmp_path / "o.h5", Options(workers=0, labels="folder"), **STFT
    )
    assert summary.n_unlabelled == 1
    with open_store(tmp_path / "o.h5") as store:
        labels = {record.key: record.label for record in store.records}
    assert labels == {
        "loose.wav": "",
        "x/000.wav": "x",
        "x/003.flac": "x",
        "y/001.flac": "y",
        "z/002.wav": "z",
    }


def test_two_labels_of_a_file_are_refused(tmp_path):
    write_noise(tmp_path / "in" / "a.wav", 0.5)
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na.wav,dog\na.wav,dog\na.wav,cat\n")
    options = Options(workers=0, labels=table)
    with pytest.raises(
        ParameterError, match=r"one label, line 4 of .*labels\.csv has another for"
    ):
        convert_audio(tmp_path / "in", tmp_path / "o.h5", options=options)


def test_labels_by_table(tmp_path):
    corpus(tmp_path / "in", 3)
    table = tmp_path / "labels.csv"
    table.write_text('\ufeffwho,label,path\n1,"dog, large",x/000.wav\n2,Käfer,y/001.flac\n')
    options = Options(workers=0, labels=table)
    summary, _ = convert(tmp_path / "in", tmp_path / "o.h5", options, **STFT)
    assert summary.n_unlabelled == 1
    with open_store(tmp_path / "o.h5") as store:
        assert [record.label for record in store.records] == ["dog, large", "Käfer", ""]
        assert store.classes == ["Käfer", "dog, large"]


def test_a_table_may_call_files_as_they_are_called_on_the_disk(tmp_path):
    # as downloads are; the key has %2520
    for name in ("a%20song.wav", "b%20song.wav", "b%2520song.wav", "c.wav"):
        write_noise(tmp_path / "in" / name, 0.5)
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na%20song.wav,dog\nb%2520song.wav,cat\nc.wav,dog\n")
    options = Options(workers=0, labels=table)
    summary, _ = convert(tmp_path / "in", tmp_path / "o.h5", options, **STFT)
    assert (summary.n_unlabelled, summary.n_labels_unused) == (1, 0)
    with open_store(tmp_path / "o.h5") as store:
        labels = {record.key: record.label for record in store.records}
    assert labels == {
        "a%2520song.wav": "dog",
        # a key is a key
        "b%2520song.wav": "cat",
        "b%252520song.wav": "",
        "c.wav": "dog",
    }
    found = find_labelled(tmp_path / "in", table)
    assert {each.source.key for each in found} == {key for key, label in labels.items() if label}
    table.write_text("path,label\na%20song.wav,dog\na%2520song.wav,cat\n")
    with pytest.raises(ParameterError, match=r"one label, line 3 .* for 'a%2520song\.wav'"):
        convert(tmp_path / "in", tmp_path / "p.h5", options, **STFT)


def test_labels_of_files_that_are_not_there_are_counted(tmp_path):
    corpus(tmp_path / "in", 2)
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n./x/000.wav,dog\nx/gone.wav,cat\nin/y/001.flac,cat\n")
    options = Options(workers=0, labels=table)
    summary, _ = convert(tmp_path / "in", tmp_path / "o.h5", options, **STFT)
    assert (summary.n_unlabelled, summary.n_labels_unused) == (1, 2)
    # what an update finds unchanged is there
    write_noise(tmp_path / "in" / "new.wav")
    summary, _ = convert(tmp_path / "in", tmp_path / "o.h5", replace(options, update=True), **STFT)
    assert (summary.n_converted, summary.n_unlabelled, summary.n_labels_unused) == (1, 2, 2)


def test_labels_of_other_files_only_are_refused(tmp_path):
    corpus(tmp_path / "in", 2)
    table = tmp_path / "labels.csv"
    table.write_text("path,label\nin/x/000.wav,dog\n")
    words = "such as 'x/000.wav', all of .*labels.csv are others, such as 'in/x/000.wav'"
    with pytest.raises(ParameterError, match=words):
        convert(tmp_path / "in", tmp_path / "o.h5", Options(workers=0, labels=table), **STFT)
    assert sorted(os.listdir(tmp_path)) == ["in", "labels.csv"]


def test_spaces_around_the_cells_of_a_table_say_nothing(tmp_path):
    corpus(tmp_path / "in", 2)
    table = tmp_path / "labels.csv"
    table.write_text("path , label\n x/000.wav , dog \ny/001.flac,\tlarge dog\n")
    options = Options(workers=0, labels=table)
    summary, _ = convert(tmp_path / "in", tmp_path / "o.h5", options, **STFT)
    assert summary.n_unlabelled == 0
    with open_store(tmp_path / "o.h5") as store:
        assert [record.label for record in store.records] == ["dog", "large dog"]
    trained = find_labelled(tmp_path / "in", table)
    assert [each.label for each in trained] == ["dog", "large dog"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b"path,class\na,b\n",
            "must have the columns path and label, each once, .* has path, class",
        ),
        (b"path,label,label\na,b,c\n", "each once, .* has path, label, label"),
        (b"", "must have the columns path and label, each once, .* has none"),
        (b"path,label\n\xff,b\n", "cannot read labels: .*utf-8"),
        (b'path,label\n"a,b\n', "cannot read labels: .*unexpected end of data"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, message):
    corpus(tmp_path / "in", 3)
    (tmp_path / "labels.csv").write_bytes(text)
    options = Options(workers=0, labels=tmp_path / "labels.csv")
    with pytest.raises(ParameterError, match=message):
        convert(tmp_path / "in", tmp_path / "o.h5", options, **STFT)
    assert not (tmp_path / "o.h5.parts").exists()


def test_patterns_choose_files(tmp_path):
    corpus(tmp_path / "in", 6)
    options = Options(workers=0, include=("*.wav", "y/*"), exclude=("*4*",))
    _, values = convert(tmp_path / "in", tmp_path / "o.h5", options, **STFT)
    assert list(values) == ["x/000.wav", "y/001.flac", "z/002.wav"]
    none = Options(workers=0, include=("*.wav", "in/y/*"), exclude=("*.wav",))
    with pytest.raises(
        AudioError,
        match=r"no audio files that the patterns allow: .*/in; no audio file matches 'in/y/\*'; "
        "patterns are of names, or of paths that begin inside the source folder",
    ):
        convert(tmp_path / "in", tmp_path / "none.h5", none, **STFT)


NAMES = ["ü.wav", "u\u0308.wav", "日本/音.wav", "a\nb.wav", "100%.wav", "%41.wav", "x #s1.wav"]
NOT_UTF8 = b"caf\xe9/\xff\xfe.wav"


def test_names_of_all_kinds_are_kept_reversibly(tmp_path):
    folder = tmp_path / "in"
    for seed, name in enumerate(NAMES):
        write_noise(folder / name, 0.3, seed=seed)
    odd = folder / os.fsdecode(NOT_UTF8)
    write_noise(odd, 0.3)
    for same in ("a/1.wav", "b/1.wav", "b/a/1.wav"):
        write_noise(folder / same, 0.3)
    for workers in (0, 2):
        summary, values = convert(
            folder, tmp_path / f"{workers}.h5", Options(workers=workers), **STFT
        )
        assert (summary.n_converted, summary.n_found) == (11, 11)
        assert b"caf\xe9/\xff\xfe.wav" in {decode_key(key) for key in values}
        for key in values:
            assert (folder / os.fsdecode(decode_key(key))).is_file()
            key.encode("utf-8")
    assert {"ü.wav", "u\u0308.wav", "a\nb.wav", "100%.wav", "b/1.wav", "b/a/1.wav"} < set(values)


def test_several_folders_and_files_have_keys_from_what_they_share(tmp_path):
    for name in ("one/a.wav", "two/deep/a.wav", "three/a.wav", "three/b.wav"):
        write_noise(tmp_path / name, 0.3)
    sources = [tmp_path / "one", tmp_path / "two", tmp_path / "three" / "b.wav"]
    _, values = convert(sources, tmp_path / "o.h5", **STFT)
    assert list(values) == ["one/a.wav", "three/b.wav", "two/deep/a.wav"]
