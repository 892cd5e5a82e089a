"""What strangers may do to a store: each change with a part of the words that refuse it."""

import os
import shutil

import h5py
import numpy as np


def replace_dataset(path, name, **options):
    """Put another dataset in the place of one, with its data where that fits."""
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs) if name == "spectrogram" else {}
        del file[name]
        dataset = file.create_dataset(name, **options)
        for key in set(attributes) - {"DIMENSION_LIST"}:
            dataset.attrs[key] = attributes[key]


def external_storage(path, secret):
    replace_dataset(
        path, "index/start", shape=(6,), dtype="<i8", external=[(str(secret), 0, 8 * 6)]
    )
    return r"index/start keeps its data in another file; refused"


def external_link(path, secret):
    other = secret.with_suffix(".h5")
    shutil.copy(path, other)
    with h5py.File(path, "r+") as file:
        del file["index"]
        file["index"] = h5py.ExternalLink(str(other), "/index")
    return r"index/key is a link to elsewhere; refused"


def soft_link(path, _):
    with h5py.File(path, "r+") as file:
        file.move("index/key", "index/other")
        file["index/key"] = h5py.SoftLink("/index/other")
    return r"index/key is a link to elsewhere; refused"


def virtual_dataset(path, secret):
    other = secret.with_suffix(".h5")
    shutil.copy(path, other)
    virtual = h5py.VirtualLayout(shape=(64, 7), dtype="<f4")
    virtual[:] = h5py.VirtualSource(str(other), "spectrogram", shape=(64, 7))
    with h5py.File(path, "r+") as file:
        del file["spectrogram"]
        file.create_virtual_dataset("spectrogram", virtual)
    return r"spectrogram keeps its data in another file; refused"


def _chunked(path, shape, chunks, filters=(), dtype=h5py.h5t.IEEE_F32LE):
    with h5py.File(path, "r+") as file:
        del file["spectrogram"]
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        create.set_chunk(chunks)
        for add in filters:
            add(create)
        space = h5py.h5s.create_simple(shape)
        h5py.h5d.create(file.id, b"spectrogram", dtype, space, dcpl=create)


def gzip_twice(path, _):
    _chunked(path, (64, 7), (8, 7), [lambda create: create.set_deflate(1)] * 2)
    return r"must have the filters shuffle and deflate, or none, got the HDF5 filters 1, 1"


def unknown_filter(path, _):
    def add(create):
        create.set_filter(32008, h5py.h5z.FLAG_OPTIONAL, ())

    _chunked(path, (64, 7), (8, 7), [add])
    return r"got the HDF5 filters 32008"


def fletcher_filter(path, _):
    _chunked(path, (64, 7), (8, 7), [lambda create: create.set_fletcher32()])
    return r"got the HDF5 filters 3"


def huge_chunk(path, _):
    _chunked(path, (1 << 20, 1 << 10), (1 << 20, 1 << 10))
    return r"/spectrogram has chunks of 4294967296 bytes, too many"


def endless_array(path, _):
    _chunked(path, (1 << 40, 7), (8, 7))
    return r"/spectrogram claims 137438953472 chunks it does not have"


def split_frames(path, _):
    _chunked(path, (64, 7), (8, 1))
    return r"in chunks of whole frames, got shape \(64, 7\) and chunks \(8, 1\)"


def half_a_chunk(path, _):
    _chunked(path, (60, 7), (8, 7))
    return r"/spectrogram must be whole chunks, got 60 rows"


def contiguous_spectrogram(path, _):
    replace_dataset(path, "spectrogram", shape=(64, 7), dtype="<f4")
    return r"/spectrogram must be stored in chunks"


def big_endian(path, _):
    _chunked(path, (64, 7), (8, 7), dtype=h5py.h5t.IEEE_F32BE)
    return r"/spectrogram has a type that a store does not have there"


def array_type(path, _):
    _chunked(path, (64, 7), (8, 7), dtype=h5py.h5t.array_create(h5py.h5t.IEEE_F32LE, (1 << 22,)))
    return r"/spectrogram has a type that a store does not have there"


def variable_strings(path, _):
    replace_dataset(path, "index/key", data=["a"] * 6, dtype=h5py.string_dtype())
    return r"index/key has a type that a store does not have there"


def variable_attribute(path, _):
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "specctl-store"
    return r"attribute format of / has a type that a store does not have there"


def references(path, _):
    replace_dataset(path, "index/start", shape=(6,), dtype=h5py.ref_dtype)
    return r"index/start has a type that a store does not have there"


def compressed_index(path, _):
    replace_dataset(path, "index/start", shape=(6,), dtype="<i8", chunks=(6,), compression="gzip")
    return r"index/start must be stored contiguously"


def index_without_data(path, _):
    replace_dataset(path, "index/start", shape=(6,), dtype="<i8")
    return r"index/start claims 48 bytes it does not have"


def endless_index(path, _):
    replace_dataset(path, "index/key", shape=(1 << 40,), dtype="S64")
    return r"index/key claims 70368744177664 bytes it does not have"


def long_texts(path, _):
    replace_dataset(path, "index/label", data=np.zeros(6, dtype="S70000"))
    return r"index/label has a type that a store does not have there"


def short_column(path, _):
    replace_dataset(path, "index/start", data=np.zeros(5, dtype="<i8"))
    return r"index/start must have shape \(6\), got \(5,\)"


def rows_outside(path, _):
    with h5py.File(path, "r+") as file:
        file["index/start"][3] = (1 << 63) - 2
    return r"item 'ben/0.wav' is outside the 64 rows"


def negative_length(path, _):
    with h5py.File(path, "r+") as file:
        file["index/length"][3] = -1
    return r"item 'ben/0.wav' is outside the 64 rows"


def same_keys(path, _):
    with h5py.File(path, "r+") as file:
        file["index/key"][1] = file["index/key"][0]
    return r"is damaged: its index, statistics or errors do not match their checksum"


def flag_of_other_rows(path, _):
    with h5py.File(path, "r+") as file:
        file["index/truncated"] = np.zeros(5, dtype="u1")
    return r"index/truncated must have shape \(6\), got \(5,\)"


def flag_elsewhere(path, _):
    with h5py.File(path, "r+") as file:
        file["index/truncated"] = h5py.ExternalLink("other.h5", "/index/truncated")
    return r"index/truncated is a link to elsewhere; refused"


def flag_of_another_type(path, _):
    with h5py.File(path, "r+") as file:
        file["index/truncated"] = np.zeros(6, dtype=bool)
    return r"index/truncated has a type that a store does not have there"


def basis_elsewhere(path, secret):
    with h5py.File(path, "r+") as file:
        file["basis"] = h5py.ExternalLink(str(secret), "/")
    return r"basis is a link to elsewhere; refused"


def basis_in_another_file(path, secret):
    with h5py.File(path, "r+") as file:
        file["basis/about"] = np.array([b"{}"])
        file.create_dataset("basis/basis", (4, 4), "<f4", external=[(str(secret), 0, 64)])
    return r"basis/basis keeps its data in another file; refused"


def endless_basis(path, _):
    with h5py.File(path, "r+") as file:
        file["basis/about"] = np.array([b"{}"])
        file.create_dataset("basis/mel", (1 << 20, 1 << 20), "<f4")
    return r"basis/mel claims 4398046511104 bytes it does not have"


def group_in_a_circle(path, _):
    with h5py.File(path, "r+") as file:
        del file["stats"]
        file["stats"] = file["/"]
    return r"not a specctl store: stats/count is missing"


def group_for_a_dataset(path, _):
    with h5py.File(path, "r+") as file:
        del file["frequency"]
        file.create_group("frequency")
    return r"frequency is not a dataset"


def dataset_for_a_group(path, _):
    with h5py.File(path, "r+") as file:
        del file["stats"]
        file["stats"] = 1
    return r"not a specctl store: stats/count is missing"


def missing_dataset(path, _):
    with h5py.File(path, "r+") as file:
        del file["index/digest"]
    return r"out.h5 is not a specctl store: index/digest is missing"


def other_hdf5(path, _):
    with h5py.File(path, "w") as file:
        file["x"] = 1
    return r"out.h5 is not a specctl store: its attribute format is None"


def newer_version(path, _):
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 3
    return (
        r"out.h5 has format version 3, this specctl reads 1 to 1; "
        r"upgrade specctl or convert again"
    )


def attribute_of_two_values(path, _):
    with h5py.File(path, "r+") as file:
        file["spectrogram"].attrs["max_error"] = np.array([1.0, 2.0])
    return r"attribute max_error of spectrogram must be one value"


def not_hdf5(path, _):
    path.write_text("RIFF")
    return r"out.h5 is not an HDF5 file"


def empty_file(path, _):
    path.write_bytes(b"")
    return r"out.h5 is not an HDF5 file"


def cut_file(path, _):
    path.write_bytes(path.read_bytes()[:-1000])
    return r"out.h5: the file cannot be read: .*truncated"


def missing_file(path, _):
    path.unlink()
    return r"cannot open .*out.h5: No such file or directory"


def folder(path, _):
    path.unlink()
    path.mkdir()
    return r"out.h5 is not a file"


def fifo(path, _):
    path.unlink()
    os.mkfifo(path)
    return r"out.h5 is not a file"


ATTACKS = [
    external_storage,
    external_link,
    soft_link,
    virtual_dataset,
    gzip_twice,
    unknown_filter,
    fletcher_filter,
    huge_chunk,
    endless_array,
    split_frames,
    half_a_chunk,
    contiguous_spectrogram,
    big_endian,
    array_type,
    variable_strings,
    variable_attribute,
    references,
    compressed_index,
    index_without_data,
    endless_index,
    long_texts,
    short_column,
    rows_outside,
    negative_length,
    same_keys,
    flag_of_other_rows,
    flag_elsewhere,
    flag_of_another_type,
    basis_elsewhere,
    basis_in_another_file,
    endless_basis,
    group_in_a_circle,
    group_for_a_dataset,
    dataset_for_a_group,
    missing_dataset,
    other_hdf5,
    newer_version,
    attribute_of_two_values,
    not_hdf5,
    empty_file,
    cut_file,
    missing_file,
    folder,
    fifo,
]
