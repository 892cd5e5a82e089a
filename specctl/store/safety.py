"""Opening stores that may come from strangers.

Plain h5py would follow a store's links to any file, load filter plugins, and take as much memory
as a forged header asks for. So objects are looked up by name, as hard links only; a dataset is
checked before its first byte is read; only the attributes asked for are touched; nothing of
variable length is. What HDF5 raises becomes a StoreError that names the file.

A store may be replaced while it is read: once it is open, nothing is asked of its name.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# no filter may come from a folder of plug-ins; HDF5 reads this when it first needs a filter
os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")

import h5py
import numpy as np

from specctl.durable import read_all
from specctl.errors import StoreError
from specctl.store import seal
from specctl.store.hdf5 import H5_ERRORS, error_text, is_from_system, system_error
from specctl.store.tables import decode_text, encode_text

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_ATTRIBUTES = 1000
_MAX_TEXT_BYTES = 1 << 16
MAX_CHUNK_BYTES = 1 << 28
# in the B-tree of a dataset's chunks, an entry of rank 1 takes 40 bytes
_MIN_CHUNK_ENTRY_BYTES = 32


@contextlib.contextmanager
def reported_h5_errors(path: Path, what: str) -> Iterator[None]:
    """Turn what HDF5 raises into ``{path}: {what} cannot be read: {reason}``."""
    try:
        yield
    except H5_ERRORS as error:
        # no name for the cause: it would keep the traceback, and with it the open file, alive
        raise StoreError(f"{path}: {what} cannot be read: {error_text(error)}") from (
            system_error(error) or error
        )


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading; StoreError where it is none, or truncated."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"{path} is not a file")
        with path.open("rb") as file:
            signature = file.read(len(_SIGNATURE))
    except (OSError, ValueError) as error:
        # a name with NUL raises ValueError
        raise StoreError(f"cannot open {path}: {error_text(error)}") from error
    if signature != _SIGNATURE:
        raise StoreError(f"{path} is not an HDF5 file")
    with reported_h5_errors(path, "the file"):
        # rows are read chunk by chunk past HDF5's cache; other drivers have no descriptor
        return h5py.File(path, "r", driver="sec2", locking="best-effort", rdcc_nbytes=0)


class CheckedFile:
    """An open HDF5 file, read by the rules of this module.

    Raises
    ------
    StoreError
        From every method: something is missing, damaged, or not as a store has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_file(path)
        with reported_h5_errors(path, "the file"):
            self._descriptor: int = self._file.id.get_vfd_handle()
            self.n_bytes = os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def attribute(self, name: str, owner: str = "/") -> Any:
        """Value of an attribute, ``str``, ``int`` or ``float``; None where there is none."""
        with reported_h5_errors(self.path, f"attribute {name} of {owner}"):
            identifier = self._identifier(owner)
            encoded = encode_text(name, "attribute")
            if not h5py.h5a.exists(identifier, encoded):
                return None
            attribute = h5py.h5a.open(identifier, encoded)
            self._check_attribute(attribute, f"attribute {name} of {owner}")
            value = np.zeros((), dtype=attribute.dtype)
            attribute.read(value)
            plain = value[()].item()
            return decode_text(plain) if isinstance(plain, bytes) else plain

    def attributes(self, owner: str = "/") -> dict[str, Any]:
        """Attributes by name; those that are not one plain value are left out."""
        with reported_h5_errors(self.path, f"attributes of {owner}"):
            identifier = self._identifier(owner)
            n_attributes = h5py.h5a.get_num_attrs(identifier)
            if n_attributes > _MAX_ATTRIBUTES:
                raise StoreError(f"{self.path}: {owner} has {n_attributes} attributes, too many")
            names = [h5py.h5a.open(identifier, index=i).name for i in range(n_attributes)]
        values = {}
        for name in sorted(names):
            try:
                values[decode_text(name)] = self.attribute(decode_text(name), owner)
            except StoreError as error:
                if is_from_system(error):
                    raise
        return values

    def check_seal(self, dataset: h5py.Dataset) -> None:
        """Raise StoreError where a byte outside the chunks of a dataset has changed.

        Parameters
        ----------
        dataset : h5py.Dataset
            What `spectrogram` gave.
        """
        what = "attributes and structure"
        with reported_h5_errors(self.path, what):
            stated = self.attribute(seal.SEAL)
            if not isinstance(stated, str) or len(stated) != seal.LENGTH:
                raise StoreError(f"{what} have no seal")
            spans = seal.chunk_spans(dataset, dataset.shape[0] // dataset.chunks[0])

            def read(offset: int, n_bytes: int) -> bytes:
                return read_all(self._descriptor, n_bytes, offset)

            seal_at = seal.find(read, self.n_bytes, spans, stated)
            if seal.compute(read, self.n_bytes, spans, seal_at) != stated:
                raise StoreError(f"{what} do not match their seal")

    def has(self, name: str) -> bool:
        """Whether there is anything of that name, in groups that are this file's own."""
        with reported_h5_errors(self.path, name):
            found: Any = self._file
            for step in name.split("/"):
                is_own = isinstance(found, h5py.Group)
                link = found.get(step, getlink=True) if is_own else None
                if link is None:
                    return False
                if not isinstance(link, h5py.HardLink):
                    raise StoreError(f"{self.path}: {name} is a link to elsewhere; refused")
                found = found[step]
        return True

    def array(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Read a contiguous dataset, no larger than the file.

        Parameters
        ----------
        kinds : str
            Allowed types, such as ``"i8"``, or ``"S"`` for text.
        shape : tuple
            What it must be; None for any length.
        """
        with reported_h5_errors(self.path, name):
            dataset = self.dataset(name)
            create = dataset.id.get_create_plist()
            self._check_type(dataset.id.get_type(), name, kinds)
            if create.get_layout() == h5py.h5d.CHUNKED or create.get_nfilters():
                raise StoreError(f"{self.path}: {name} must be stored contiguously")
            rank_fits = len(dataset.shape) == len(shape)
            if not rank_fits or any(
                want not in (None, got) for want, got in zip(shape, dataset.shape, strict=True)
            ):
                wanted = ", ".join("any" if n is None else str(n) for n in shape)
                raise StoreError(
                    f"{self.path}: {name} must have shape ({wanted}), got {dataset.shape}"
                )
            # not size * itemsize of numpy's, which may wrap around
            n_bytes = dataset.id.get_type().get_size()
            for length in dataset.shape:
                n_bytes *= length
            if dataset.id.get_storage_size() != n_bytes or n_bytes > self.n_bytes:
                raise StoreError(f"{self.path}: {name} claims {n_bytes} bytes it does not have")
            return np.asarray(dataset[()])

    def spectrogram(self) -> h5py.Dataset:
        """``/spectrogram``, checked to be in whole-frame chunks with known filters."""
        with reported_h5_errors(self.path, "/spectrogram"):
            dataset = self.dataset("spectrogram")
            self._check_type(dataset.id.get_type(), "/spectrogram", "f4 f2 i2 u1")
            create = dataset.id.get_create_plist()
            if create.get_layout() != h5py.h5d.CHUNKED:
                raise StoreError(f"{self.path}: /spectrogram must be stored in chunks")
            self._check_filters(create)
            self._check_chunks(dataset.shape, dataset.chunks, dataset.dtype.itemsize)
            return dataset

    def dataset(self, name: str) -> h5py.Dataset:
        """A dataset that keeps its data in this file."""
        dataset = self._object(name)
        if not isinstance(dataset, h5py.Dataset):
            raise StoreError(f"{self.path}: {name} is not a dataset")
        create = dataset.id.get_create_plist()
        if create.get_layout() == h5py.h5d.VIRTUAL or create.get_external_count():
            raise StoreError(f"{self.path}: {name} keeps its data in another file; refused")
        return dataset

    def _identifier(self, owner: str) -> Any:
        """HDF5's own handle of the root or of a dataset."""
        return self._file.id if owner == "/" else self._object(owner).id

    def _object(self, name: str) -> Any:
        """An object by its path; every step must be a hard link."""
        found: Any = self._file
        for step in name.strip("/").split("/"):
            link = found.get(step, getlink=True) if isinstance(found, h5py.Group) else None
            if link is None:
                raise StoreError(f"{self.path} is not a specctl store: {name} is missing")
            if not isinstance(link, h5py.HardLink):
                raise StoreError(f"{self.path}: {name} is a link to elsewhere; refused")
            found = found[step]
        return found

    def _check_attribute(self, attribute: Any, what: str) -> None:
        if attribute.shape != ():
            raise StoreError(f"{self.path}: {what} must be one value")
        self._check_type(attribute.get_type(), what, "S i8 i4 u8 u4 f8 f4")

    def _check_type(self, datatype: Any, what: str, kinds: str) -> None:
        """Only plain little-endian numbers and text of fixed length."""
        if isinstance(datatype, h5py.h5t.TypeStringID):
            allowed = "S" in kinds.split() and not datatype.is_variable_str()
            allowed = allowed and datatype.get_size() <= _MAX_TEXT_BYTES
        elif isinstance(datatype, (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)):
            allowed = any(datatype.dtype == np.dtype(f"<{k}") for k in kinds.split() if k != "S")
        else:
            allowed = False
        if not allowed:
            raise StoreError(f"{self.path}: {what} has a type that a store does not have there")

    def _check_filters(self, create: Any) -> None:
        found = [create.get_filter(i)[0] for i in range(create.get_nfilters())]
        if found not in ([], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]):
            raise StoreError(
                f"{self.path}: /spectrogram must have the filters shuffle and deflate, or none, "
                f"got the HDF5 filters {', '.join(map(str, found))}"
            )

    def _check_chunks(
        self, shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int
    ) -> None:
        if len(shape) not in (2, 3) or shape[2:] not in ((), (2,)) or chunks[1:] != shape[1:]:
            raise StoreError(
                f"{self.path}: /spectrogram must be (frames, bins) or (frames, bins, 2) in chunks "
                f"of whole frames, got shape {shape} and chunks {chunks}"
            )
        n_bytes = itemsize
        for length in chunks:
            n_bytes *= length
        if n_bytes > MAX_CHUNK_BYTES or n_bytes == 0:
            raise StoreError(f"{self.path}: /spectrogram has chunks of {n_bytes} bytes, too many")
        n_chunks, rest = divmod(shape[0], chunks[0])
        if rest:
            raise StoreError(
                f"{self.path}: /spectrogram must be whole chunks, got {shape[0]} rows"
            )
        if n_chunks * _MIN_CHUNK_ENTRY_BYTES > self.n_bytes:
            raise StoreError(
                f"{self.path}: /spectrogram claims {n_chunks} chunks it does not have"
            )
