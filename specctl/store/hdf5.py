"""Writing HDF5 in the narrow way the store format allows.

Only fixed-length strings, because variable-length ones are where damaged files crash or hang the
library; no chunk cache, which direct chunk writes do not need; and no write that fails, see
`specctl.store.sink`.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
from h5py._objects import phil

from specctl.errors import StoreError
from specctl.store import seal
from specctl.store.layout import Layout
from specctl.store.sink import FileSink
from specctl.store.tables import Table, encode_text

# an attribute must fit the header of its object: 64 KiB less its name and type
_MAX_ATTRIBUTE_BYTES = 60_000

_SYSTEM_ERROR = re.compile(r"\berrno = (\d+), error message = ")

_LOCKED = "another program has it open for writing"

# what h5py raises for a file that HDF5 cannot write or read; a bug of ours may look like some
H5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)


@contextlib.contextmanager
def created_file(path: Path) -> Iterator[tuple[h5py.File, FileSink]]:
    """Open a new HDF5 file for writing, through a sink to ask whether the disk took it all.

    A store that is finished is sealed when it is closed.
    """
    sink = FileSink(path)
    try:
        placeholder, spans = seal.placeholder(), None
        with h5py.File(sink, "w", rdcc_nbytes=0) as file:
            yield file, sink
            if "format" in file.attrs:
                write_attribute(file, seal.SEAL, placeholder)
                dataset = file["spectrogram"]
                spans = seal.chunk_spans(dataset, dataset.shape[0] // dataset.chunks[0])
        if spans is not None:
            _write_seal(sink, spans, placeholder)
    except H5_ERRORS as error:
        sink.check()
        raise StoreError(f"cannot write {path}: {error_text(error)}") from error
    finally:
        sink.close()
    sink.check()


def _write_seal(sink: FileSink, spans: list[seal.Span], placeholder: str) -> None:
    """Put the seal of a file that HDF5 has closed where its placeholder is."""
    sink.check()

    def read(offset: int, n_bytes: int) -> bytes:
        sink.seek(offset)
        data = sink.read(n_bytes)
        # zeros would be sealed that are not in the file
        sink.check()
        return data

    size = sink.seek(0, os.SEEK_END)
    seal_at = seal.find(read, size, spans, placeholder)
    value = seal.compute(read, size, spans, seal_at)
    sink.seek(seal_at)
    sink.write(value.encode())


def write_attribute(owner: h5py.File | h5py.Dataset, name: str, value: str | int | float) -> None:
    """Write an attribute; text becomes a fixed-length UTF-8 string."""
    if not isinstance(value, str):
        owner.attrs[name] = value
        return
    data = encode_text(value, name)
    if len(data) > _MAX_ATTRIBUTE_BYTES:
        raise StoreError(
            f"attribute {name} must fit in {_MAX_ATTRIBUTE_BYTES} bytes, got {len(data)}"
        )
    length = max(len(data), 1)
    owner.attrs.create(
        name, np.array(data, f"S{length}"), dtype=h5py.string_dtype("utf-8", length)
    )


def write_table(group: h5py.Group, table: Table) -> None:
    """Write each column as a contiguous dataset; strings as UTF-8 of fixed length."""
    for name, column in table.items():
        is_text = column.dtype.kind == "S"
        dtype = h5py.string_dtype("utf-8", column.dtype.itemsize) if is_text else column.dtype
        group.create_dataset(name, data=column.view(dtype))


def create_spectrogram(
    file: h5py.File, layout: Layout, attributes: Mapping[str, str]
) -> h5py.Dataset:
    """Create ``/spectrogram`` without any row, and its attributes."""
    is_gzip = layout.compression == "gzip"
    # the fill value is HDF5's own: with one that is set, netCDF takes 255 for missing
    dataset = file.create_dataset(
        "spectrogram",
        shape=(0, *layout.frame_shape),
        maxshape=(None, *layout.frame_shape),
        dtype=layout.stored_dtype,
        chunks=(layout.chunk_frames, *layout.frame_shape),
        shuffle=is_gzip,
        compression="gzip" if is_gzip else None,
        compression_opts=1 if is_gzip else None,
    )
    for name, value in attributes.items():
        write_attribute(dataset, name, value)
    if layout.is_integer:
        write_attribute(dataset, "scale_factor", layout.scale_factor)
        write_attribute(dataset, "add_offset", layout.add_offset)
        write_attribute(dataset, "scale_sha256", layout.scale_digest())
    write_attribute(dataset, "max_error", layout.max_error)
    return dataset


def write_chunk(dataset: h5py.Dataset, row: int, data: bytes | memoryview) -> None:
    """Write the bytes of the chunk that begins at a row, past all filters."""
    # h5py before 3.16 does so without its lock, and threads crash the process
    with phil:
        dataset.id.write_direct_chunk(_place(dataset, row), data)


def read_chunk(dataset: h5py.Dataset, row: int, room: np.ndarray) -> tuple[int, memoryview]:
    """Which filters were left out (bits), and the bytes of the chunk that begins at a row."""
    with phil:
        mask, data = dataset.id.read_direct_chunk(_place(dataset, row), out=room.data)
    return mask, data


def _place(dataset: h5py.Dataset, row: int) -> tuple[int, ...]:
    return (row, *(0,) * (dataset.ndim - 1))


def system_error(error: BaseException) -> OSError | None:
    """What the system said if it is the reason of what HDF5 raised, ``None`` if it is not.

    HDF5 has it in its own text only, and h5py makes many kinds of exceptions of that.
    """
    found = _SYSTEM_ERROR.search(str(error))
    if found is not None:
        number = int(found[1])
        return OSError(number, _LOCKED if number == errno.EAGAIN else os.strerror(number))
    return error if isinstance(error, OSError) and error.errno is not None else None


def is_from_system(error: StoreError) -> bool:
    """Whether the system refused, so that nothing is known of what a file holds."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno is not None


def error_text(error: BaseException) -> str:
    """Shortest text that says why: of an ``OSError`` with a number, the system's words."""
    said = system_error(error)
    return said.strerror if said is not None and said.strerror else str(error)
