import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specctl.errors import StoreError
from specctl.store.reader import open_store
from specctl.store.verify import verify_store

from .stores import (
    ATTRIBUTES,
    make_store,
    merge,
    random_values,
    small_layout,
    write_part,
)

# float64 sums in another order than numpy's
STATS_TOLERANCE = 1e-12


def text(attribute):
    return attribute.decode()


def read_with_h5py_alone(path, key):
    """What a reader does who has only the documented layout."""
    with h5py.File(path) as file:
        row = list(file["index/key"].asstr()).index(key)
        start, length = file["index/start"][row], file["index/length"][row]
        spectrogram = file["spectrogram"]
        stored = spectrogram[start : start + length]
        if "scale_factor" in spectrogram.attrs:
            return stored * spectrogram.attrs["scale_factor"] + spectrogram.attrs["add_offset"]
        return stored


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize(
    ("dtype", "is_complex"),
    [
        ("float32", False),
        ("float32", True),
        ("float16", False),
        ("int16", False),
        ("uint8", False),
    ],
)
def test_h5py_alone_can_read_a_store(tmp_path, dtype, is_complex, compression):
    layout = small_layout(dtype, compression, is_complex=is_complex)
    made = make_store(tmp_path, layout)
    for key, values in made.values.items():
        off = np.abs(read_with_h5py_alone(made.path, key) - values)
        assert off.max() <= layout.max_error


def test_a_store_is_as_documented(tmp_path):
    made = make_store(tmp_path)
    everything = np.concatenate(list(made.values.values())).astype(np.float64)
    with h5py.File(made.path) as file:
        groups = ["chunks", "errors", "index", "stats"]
        assert sorted(file) == sorted([*groups, "frame", "frequency", "spectrogram"])
        assert {name: text(file.attrs[name]) for name in ATTRIBUTES} == ATTRIBUTES
        assert text(file.attrs["format"]) == "specctl-store"
        assert file.attrs["format_version"] == 1
        spectrogram = file["spectrogram"]
        assert (spectrogram.shuffle, spectrogram.compression) == (True, "gzip")
        assert (spectrogram.chunks, spectrogram.fillvalue) == ((8, 7), 0)
        assert text(spectrogram.attrs["units"]) == "dB"
        assert text(spectrogram.attrs["long_name"]) == "log mel spectrogram"
        assert list(spectrogram.dims[1].values()) == [file["frequency"]]
        assert file["frequency"][-1] == 8000
        assert file["index/key"].dtype == h5py.string_dtype("utf-8", len("anna/0.wav"))
        assert file["index/start"][:].tolist() == [0, 5, 24, 32, 37, 56]
        assert file["index/length"][:].tolist() == [5, 19, 1] * 2
        assert file["index/mtime_ns"][0] == 10**18 + 1
        assert file["errors/key"].asstr()[:].tolist() == ["anna/bad.wav", "ben/bad.wav"]
        assert file["errors/reason"].asstr()[0] == "cannot decode"
        assert (file["errors/size"][0], file["errors/mtime_ns"][0]) == (3, 4)
        np.testing.assert_allclose(file["stats/mean"], everything.mean(axis=0), STATS_TOLERANCE)
        np.testing.assert_allclose(file["stats/std"], everything.std(axis=0), STATS_TOLERANCE)
        assert file["stats/count"][()] == len(everything)


@pytest.mark.parametrize(
    ("is_complex", "names"),
    [(False, ["frame", "frequency"]), (True, ["frame", "frequency", "re_im"])],
    ids=["real", "complex"],
)
def test_every_axis_has_a_scale_without_which_netcdf_readers_refuse_it(
    tmp_path, is_complex, names
):
    made = make_store(tmp_path, small_layout(is_complex=is_complex))
    with h5py.File(made.path) as file:
        spectrogram = file["spectrogram"]
        scales = [list(axis.values()) for axis in spectrogram.dims]
        assert scales == [[file[name]] for name in names]
        for (scale,), length in zip(scales, spectrogram.shape, strict=True):
            assert scale.shape == (length,)
        for name in {*names} - {"frequency"}:
            # netCDF's mark of an axis without values
            assert file[name].attrs["NAME"].startswith(b"This is a netCDF dimension but not a ")
            assert file[name].id.get_storage_size() == 0


def test_no_code_is_a_missing_value_to_netcdf(tmp_path):
    made = make_store(tmp_path, small_layout("uint8"))
    with h5py.File(made.path) as file:
        create = file["spectrogram"].id.get_create_plist()
        # of a fill value that a writer has set, netCDF concludes that its own, 255, is missing
        assert create.fill_value_defined() == h5py.h5d.FILL_VALUE_DEFAULT


def test_holds_no_strings_of_variable_length(tmp_path):
    names = []

    def visit(name, item):
        dtypes = [item.dtype] if isinstance(item, h5py.Dataset) else []
        # the references of the dimension scale are HDF5's own
        own = set(item.attrs) - {"DIMENSION_LIST", "REFERENCE_LIST"}
        dtypes += [item.attrs.get_id(attribute).dtype for attribute in own]
        assert not any(h5py.check_vlen_dtype(d) or d.hasobject for d in dtypes)
        names.append(name)

    with h5py.File(make_store(tmp_path).path) as file:
        visit("/", file)
        file.visititems(visit)
    assert len(names) > 20


def test_compressed_chunks_are_copied_as_they_are(tmp_path):
    made = make_store(tmp_path)
    from specctl.store.part import read_part

    chunks = [
        data
        for name in ("anna", "ben")
        for _, data in read_part(tmp_path / f"{name}.part").iter_chunks()
    ]
    with h5py.File(made.path) as file:
        dataset = file["spectrogram"].id
        stored = [
            dataset.read_direct_chunk((8 * i, 0))[1] for i in range(dataset.get_num_chunks())
        ]
    assert stored == chunks


def test_the_numbers_do_not_depend_on_the_division_into_parts(tmp_path):
    layout = small_layout()
    values = {f"{i}": random_values(layout, 3 * i, seed=i) for i in range(9)}
    stores = []
    for n_parts in (1, 2, 9):
        parts = [
            write_part(tmp_path / f"{n_parts}-{i}", layout, {key: values[key] for key in keys})
            for i, keys in enumerate(np.array_split(list(values), n_parts))
        ]
        merge(parts, tmp_path / f"{n_parts}.h5", layout)
        stores.append(open_store(tmp_path / f"{n_parts}.h5"))
    first = stores[0]
    for other in stores[1:]:
        assert other.records == first.records
        assert other.mean.tobytes() == first.mean.tobytes()
        assert other.std.tobytes() == first.std.tobytes()


@settings(max_examples=25)
@given(
    lengths=st.lists(st.lists(st.integers(0, 30), max_size=4), max_size=3),
    dtype=st.sampled_from(["float32", "float16", "int16", "uint8"]),
    compression=st.sampled_from(["none", "gzip"]),
    chunk_frames=st.integers(1, 20),
)
def test_any_items_come_back(tmp_path_factory, lengths, dtype, compression, chunk_frames):
    folder = tmp_path_factory.mktemp("store")
    layout = small_layout(dtype, compression)
    layout = type(layout).from_dict({**layout.to_dict(), "chunk_frames": chunk_frames})
    values, parts = {}, []
    for p, items in enumerate(lengths):
        own = {f"{p}/{i}": random_values(layout, n, seed=7 * p + i) for i, n in enumerate(items)}
        parts.append(write_part(folder / str(p), layout, own))
        values |= own
    summary = merge(parts, folder / "out.h5", layout)
    assert summary.n_items == len(values)
    assert summary.n_frames == sum(map(len, values.values()))
    with open_store(folder / "out.h5") as store:
        assert list(store) == list(values)
        for key, frames in values.items():
            np.testing.assert_allclose(store[key], frames.T, rtol=0, atol=layout.max_error)
    assert verify_store(folder / "out.h5") == []


def test_a_store_of_nothing_is_a_store(tmp_path):
    summary = merge([], tmp_path / "out.h5", small_layout())
    assert (summary.n_items, summary.n_frames) == (0, 0)
    with open_store(tmp_path / "out.h5") as store:
        assert (len(store), store.classes, store.errors) == (0, [], [])
        assert not store.mean.any()
    assert verify_store(tmp_path / "out.h5") == []


def test_keys_that_are_not_plain_text_come_back(tmp_path):
    layout = small_layout()
    keys = ["é/日本.wav", "not \udcff utf-8", "line\nbreak", "[red]", "c" * 300]
    values = {key: random_values(layout, 3, seed=i) for i, key in enumerate(keys)}
    merge([write_part(tmp_path / "a", layout, values)], tmp_path / "out.h5", layout)
    with open_store(tmp_path / "out.h5") as store:
        assert list(store) == keys
        assert (store["not \udcff utf-8"] == values["not \udcff utf-8"].T).all()


def test_refuses_a_part_of_another_layout(tmp_path):
    part = write_part(tmp_path / "a.part", small_layout("float16"), {})
    with pytest.raises(StoreError, match=r"a.part has another layout: dtype float16 instead of f"):
        merge([part], tmp_path / "out.h5", small_layout())


def test_refuses_a_damaged_part_and_leaves_nothing(tmp_path):
    layout = small_layout()
    path = write_part(tmp_path / "a.part", layout, {"k": random_values(layout, 30, 0)})
    damaged = bytearray(path.read_bytes())
    damaged[40] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"a.part is damaged: chunk 0"):
        merge([path], tmp_path / "out.h5", layout)
    assert [left.name for left in tmp_path.iterdir()] == ["a.part"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": {"config": "{}"}}, "attributes must have fingerprint"),
        ({"frequencies": np.zeros(3)}, r"frequencies must have shape \(7,\), got \(3,\)"),
    ],
)
def test_refuses_arguments(tmp_path, options, message):
    with pytest.raises(StoreError, match=message):
        merge([], tmp_path / "out.h5", small_layout(), **options)
    assert not list(tmp_path.iterdir())


def test_refuses_an_attribute_that_hdf5_cannot_hold(tmp_path):
    attributes = {**ATTRIBUTES, "config": "x" * 70_000}
    with pytest.raises(StoreError, match="attribute config must fit in 60000 bytes, got 70000"):
        merge([], tmp_path / "out.h5", small_layout(), attributes=attributes)


def test_config_is_json(tmp_path):
    with h5py.File(make_store(tmp_path).path) as file:
        assert json.loads(file.attrs["config"])["hop_length"] == 160
