import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specctl.errors import ParameterError, StoreError
from specctl.store import spill
from specctl.store.chunks import ChunkCodec
from specctl.store.layout import FailureRecord, Layout
from specctl.store.part import PartWriter, read_part
from specctl.store.part_reader import TRAILER

from .stores import add_item, commit, random_values, small_layout, write_part

# float64 sums in another order than numpy's
MEAN_TOLERANCE = 1e-12

KINDS = [
    pytest.param((dtype, compression, is_complex), id=f"{dtype}-{compression}-{is_complex}")
    for dtype, is_complex in [
        ("float32", False),
        ("float32", True),
        ("float16", False),
        ("int16", False),
        ("uint8", False),
    ]
    for compression in ("none", "gzip")
]


def layout_of(kind):
    dtype, compression, is_complex = kind
    return small_layout(dtype, compression, is_complex=is_complex)


def rows_of(part):
    codec = ChunkCodec(part.layout)
    rows = [codec.decode(data).copy() for _, data in part.iter_chunks()]
    return np.concatenate(rows) if rows else np.zeros((0, part.layout.width))


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("kind", KINDS)
def test_gives_back_rows_records_and_extra(tmp_path, kind):
    layout = layout_of(kind)
    values = {f"{n}.wav": random_values(layout, n, seed=n) for n in (1, 8, 21)}
    path = tmp_path / "a.part"
    with PartWriter(path, layout) as writer:
        for key, frames in values.items():
            add_item(writer, key, frames, label="dog")
        writer.fail(FailureRecord("bad", "why", 1, 2))
        commit(writer, extra={"seconds": 1.5})
    part = read_part(path)
    assert part.layout == layout
    assert [(item.key, item.n_frames, item.label) for item in part.items] == [
        ("1.wav", 1, "dog"),
        ("8.wav", 8, "dog"),
        ("21.wav", 21, "dog"),
    ]
    assert part.failures == [FailureRecord("bad", "why", 1, 2)]
    assert part.extra == {"seconds": 1.5}
    assert (part.n_frames, part.n_rows) == (30, 32)
    rows = rows_of(part)
    start = 0
    for item in part.items:
        stored = rows[start : start + item.n_frames]
        assert hashlib.sha256(stored.tobytes()).hexdigest() == item.digest
        start += item.n_frames
    assert not rows[start:].any()
    assert [path.name for path in tmp_path.iterdir()] == ["a.part"]


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 40), max_size=5),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    kind=st.sampled_from([("float32", "gzip", False), ("uint8", "none", False)]),
)
def test_is_the_same_file_however_frames_are_handed_over(tmp_path_factory, lengths, cuts, kind):
    layout, folder = layout_of(kind), tmp_path_factory.mktemp("parts")
    values = {f"{i}": random_values(layout, n, seed=i) for i, n in enumerate(lengths)}
    whole = write_part(folder / "whole", layout, values)
    with PartWriter(folder / "pieces", layout) as writer:
        for key, frames in values.items():
            writer.begin_source()
            for piece in np.split(frames, sorted(cuts)):
                writer.append(piece)
            writer.end_item(
                **{
                    name: value
                    for name, value in read_part(whole).items[int(key)].to_dict().items()
                    if name not in ("n_frames", "digest")
                }
            )
            writer.end_source()
        commit(writer)
    assert whole.read_bytes() == (folder / "pieces").read_bytes()


@settings(max_examples=40)
@given(
    before=st.integers(0, 30),
    discarded=st.integers(0, 60),
    after=st.integers(0, 30),
    kind=st.sampled_from([("float32", "gzip", False), ("int16", "none", False)]),
)
def test_a_discarded_item_leaves_no_trace(tmp_path_factory, before, discarded, after, kind):
    layout, folder = layout_of(kind), tmp_path_factory.mktemp("parts")
    items = {
        "before": random_values(layout, before, seed=1),
        "after": random_values(layout, after, seed=2),
    }
    without = write_part(folder / "without", layout, items)
    with PartWriter(folder / "with", layout) as writer:
        add_item(writer, "before", items["before"])
        writer.begin_source()
        writer.append(random_values(layout, discarded, seed=3))
        writer.discard_source()
        writer.discard_source()
        add_item(writer, "after", items["after"])
        commit(writer)
    assert (folder / "with").read_bytes() == without.read_bytes()


def test_goes_on_after_a_value_that_cannot_be_stored(tmp_path):
    layout = small_layout("uint8")
    good = random_values(layout, 20, seed=0)
    bad = good.copy()
    bad[13, 2] = 63.2
    with PartWriter(tmp_path / "a", layout) as writer:
        add_item(writer, "first", good)
        writer.begin_source()
        with pytest.raises(StoreError, match=r"value 63.2 is above the range of uint8") as caught:
            writer.append(bad)
        assert caught.value.__cause__ is None
        writer.discard_source()
        add_item(writer, "last", good)
        commit(writer)
    assert [item.key for item in read_part(tmp_path / "a").items] == ["first", "last"]


def test_refuses_values_that_are_not_finite(tmp_path):
    layout = small_layout()
    frames = random_values(layout, 3, seed=0)
    frames[1, 1] = np.nan
    with PartWriter(tmp_path / "a", layout) as writer:
        writer.begin_source()
        writer.append(frames)
        with pytest.raises(StoreError, match="values that are not finite"):
            writer.end_item(key="a", source="a", sample_rate=1, n_samples=1)


def test_leaves_nothing_behind_when_the_block_fails(tmp_path):
    layout = small_layout()
    with pytest.raises(KeyError), PartWriter(tmp_path / "a", layout) as writer:
        add_item(writer, "a", random_values(layout, 30, seed=0))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(3,), (3, 8), (7, 3), (3, 7, 2)])
def test_refuses_frames_of_another_shape(tmp_path, shape):
    with PartWriter(tmp_path / "a", small_layout()) as writer:
        writer.begin_source()
        with pytest.raises(ParameterError, match=r"frames must have shape \(n, 7\), got \("):
            writer.append(np.zeros(shape, dtype=np.float32))


def test_refuses_calls_out_of_order(tmp_path):
    with PartWriter(tmp_path / "a", small_layout()) as writer:
        with pytest.raises(ParameterError, match="append must follow begin_source"):
            writer.append(np.zeros((1, 7), dtype=np.float32))
        with pytest.raises(ParameterError, match="end_item must follow begin_source"):
            writer.end_item()
        writer.begin_source()
        with pytest.raises(ParameterError, match="begin_source must follow the end"):
            writer.begin_source()
        with pytest.raises(ParameterError, match="finish must follow the end"):
            commit(writer)
        with pytest.raises(ParameterError, match="publish must follow finish"):
            writer.publish()
        writer.discard_source()
        commit(writer)
        with pytest.raises(ParameterError, match="must be open"):
            commit(writer)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_part_cut_anywhere_is_refused(tmp_path, compression):
    layout = small_layout(compression=compression)
    whole = write_part(tmp_path / "a", layout, {"k": random_values(layout, 30, 0)}).read_bytes()
    cut = tmp_path / "cut"
    for size in range(0, len(whole), 3):
        cut.write_bytes(whole[:size])
        with pytest.raises(StoreError, match=str(cut)):
            read_part(cut)
    cut.write_bytes(whole + b"\0")
    with pytest.raises(StoreError, match="incomplete or damaged"):
        read_part(cut)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_any_flipped_bit_is_found(tmp_path, compression):
    layout = small_layout(compression=compression)
    whole = write_part(tmp_path / "a", layout, {"k": random_values(layout, 30, 0)}).read_bytes()
    flipped = tmp_path / "flipped"
    random = np.random.default_rng(0)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        flipped.write_bytes(damaged)
        with pytest.raises(StoreError):
            list(read_part(flipped).iter_chunks())


def test_damage_to_a_chunk_names_part_chunk_and_byte(tmp_path):
    layout = small_layout(compression="none")
    path = write_part(tmp_path / "a.part", layout, {"k": random_values(layout, 30, 0)})
    damaged = bytearray(path.read_bytes())
    damaged[16 + layout.chunk_bytes] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"a.part is damaged: chunk 1 at byte 240$"):
        list(read_part(path).iter_chunks())


@pytest.mark.parametrize("number", [b"1e999", b"[]", b"{}", b'"x"', b"null", b"-1", b"NaN"])
def test_a_footer_of_anything_is_refused_even_where_its_checksum_fits(tmp_path, number):
    layout = small_layout()
    path = write_part(tmp_path / "a.part", layout, {"x": random_values(layout, 10, 0)})
    *numbers, _, end = TRAILER.unpack(path.read_bytes()[-TRAILER.size :])
    body = path.read_bytes()[: -TRAILER.size].replace(b'"n_frames": 10', b'"n_frames": ' + number)
    grown = len(number) - len(b"10")
    numbers[3], numbers[4] = numbers[3] + grown, numbers[4] + grown
    digest = hashlib.sha256(body[numbers[0] :]).digest()
    path.write_bytes(body + TRAILER.pack(*numbers, digest, end))
    with pytest.raises(StoreError, match=r"a\.part is damaged: its (footer|chunks) "):
        read_part(path)


def test_an_empty_part_is_a_part(tmp_path):
    part = read_part(write_part(tmp_path / "a", small_layout(), {}))
    assert (part.items, part.n_rows, list(part.iter_chunks())) == ([], 0, [])


def test_a_missing_part_is_named(tmp_path):
    with pytest.raises(StoreError, match=rf"cannot read {tmp_path}/a: No such file or directory"):
        read_part(tmp_path / "a")


def test_moments_of_many_items_take_no_memory(tmp_path):
    layout = Layout(n_bins=4096, dtype="uint8", compression="none", scale_factor=0.5)
    frames = np.full((1, 4096), 3, np.float32)
    n_items, moments_bytes = 300, 2 * 4096 * 8
    with PartWriter(tmp_path / "a", layout) as writer:
        add_item(writer, "first", frames)
        tracemalloc.start()
        try:
            for number in range(n_items):
                add_item(writer, f"{number}", frames + number % 50)
            commit(writer)
            part = read_part(tmp_path / "a")
            means = [float(moments.mean[7]) for moments in part.iter_moments()]
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert means == [3.0, *(3.0 + number % 50 for number in range(n_items))]
    assert peak < n_items * moments_bytes / 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("spilled", [False, True], ids=["in-memory", "on-disk"])
def test_a_discarded_source_takes_its_moments_along(tmp_path, monkeypatch, spilled):
    monkeypatch.setattr(spill, "_MEMORY_BYTES", 1 if spilled else 2**20)
    layout = small_layout()
    values = {f"{n}": random_values(layout, n, seed=n) for n in (3, 20, 9)}
    without = write_part(tmp_path / "without", layout, values)
    with PartWriter(tmp_path / "with", layout) as writer:
        for key, frames in values.items():
            writer.begin_source()
            for seed in (40, 41):
                writer.append(random_values(layout, 11, seed))
                writer.end_item(key="x", source="x", sample_rate=1, n_samples=1)
            writer.discard_source()
            add_item(writer, key, frames)
        commit(writer)
    assert (tmp_path / "with").read_bytes() == without.read_bytes()
    means = [moments.mean for moments in read_part(without).iter_moments()]
    for mean, frames in zip(means, values.values(), strict=True):
        np.testing.assert_allclose(mean, frames.mean(axis=0, dtype=np.float64), MEAN_TOLERANCE)


def test_a_full_disk_for_moments_is_an_error_that_names_the_part(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "_MEMORY_BYTES", 1)
    layout = small_layout()
    with PartWriter(tmp_path / "a.part", layout) as writer:
        monkeypatch.setattr(spill, "write_all", full_disk)
        with pytest.raises(StoreError, match=r"cannot write .*/a\.part: No space left") as caught:
            add_item(writer, "k", random_values(layout, 3, 0))
    assert isinstance(caught.value.__cause__, OSError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", ["flipped", "cut"])
def test_moments_that_change_after_the_part_was_read_are_found(tmp_path, change):
    layout = small_layout()
    path = write_part(tmp_path / "a.part", layout, {"k": random_values(layout, 30, 0)})
    part = read_part(path)
    data = bytearray(path.read_bytes())
    data[part.moments_start + 9] ^= 1
    path.write_bytes(data if change == "flipped" else data[: part.moments_start + 9])
    with pytest.raises(StoreError, match=r"a\.part is damaged: its moments have changed"):
        list(part.iter_moments())


def test_a_part_in_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"cannot write .*/no/a.part: No such file or directory"):
        PartWriter(tmp_path / "no" / "a.part", small_layout())


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_full_disk_is_an_error_that_names_the_part(tmp_path, compression):
    layout = small_layout(compression=compression)
    frames = random_values(layout, 30, seed=0)
    size = write_part(tmp_path / "whole", layout, {"k": frames}).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    failed = 0
    try:
        for limit in range(0, size, 37):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises(StoreError, match=r"cannot write .*/a.part: File too large"):
                write_part(tmp_path / "a.part", layout, {"k": frames})
            failed += 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert failed > 20
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_killed_writer_leaves_no_part(tmp_path):
    code = f"""
import os, signal, sys
sys.path.insert(0, {os.getcwd()!r})
from pathlib import Path
from tests.store.stores import add_item, random_values, small_layout
from specctl.store.part import PartWriter
layout = small_layout()
writer = PartWriter(Path({str(tmp_path / "a.part")!r}), layout)
add_item(writer, "k", random_values(layout, 100, 0))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.part").exists()
    assert len(list(tmp_path.glob("a.part.tmp-*"))) == 1


def test_imports_neither_h5py_nor_torch():
    code = (
        "import specctl.store.part, specctl.store.layout, specctl.durable, sys;"
        "print([m for m in ('h5py', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
