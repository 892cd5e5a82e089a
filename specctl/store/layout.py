"""The store format: what every dataset and attribute means, and the records they come from.

A store is one HDF5 file that any HDF5 reader can use. Version 1 has, all little-endian::

    /spectrogram      (n_rows, n_bins) float32, float16, int16 or uint8; complex: a trailing axis
                      of 2 (re, im). Chunked along rows, filters shuffle + deflate or none.
                      n_rows is a whole number of chunks. The rows of one item follow each
                      other. Rows that no item claims are padding: they hold the fill value, 0.
        units         unit of the values after scaling, such as "dB"
        long_name     what the values are
        scale_factor, add_offset
                      only for int16 and uint8: value = stored * scale_factor + add_offset
        max_error     worst absolute error that storing has caused (0 for float32)
        scale_sha256  only for int16 and uint8: SHA-256 (hex) of scale_factor, add_offset and
                      max_error as float64, one after another. Not there in older stores
    /frequency        (n_bins,) float64, Hz; of cepstral coefficients their index, from 0; attached
                      to axis 1 of /spectrogram as its scale
        units         "Hz", of coefficients "1" (in older stores "Hz")
        long_name     only of coefficients: that it is their index
    /frame, /re_im    (n_rows,), of complex stores also (2,): scales of the other axes, which hold
                      nothing; netCDF's readers want one for each. Not there in older stores
    /index/...        one row per item, in the order of the rows in /spectrogram
        key           name of the item, unique; UTF-8 of fixed length
        source        key of the file it comes from
        start, length first row in /spectrogram and number of rows (frames)
        sample_rate   of the file, Hz
        n_samples     length of the item at the store's rate
        channel       channel of the file, from 0; -1: all of them, mixed down
        offset        first sample of a segment at the store's rate; 0 without segments
        label         class name; empty: none
        size, mtime_ns, sha256
                      bytes, time of change (ns since 1970) and SHA-256 (hex) of the source file
        digest        SHA-256 (hex) of the item's stored rows, as little-endian bytes in C order
        truncated     1 where the file was cut short, or may have been, and the item is what was
                      left of it, else 0; uint8. Not there in stores without such items
    /stats/mean, std  per bin (complex: per bin and part) float64, over all frames of all items
                      before rounding to the stored type (after it, of items that were there when
                      an update took others away); std divides by count
    /stats/count      number of frames they are taken over, int64 scalar
    /chunks/crc32     (n_chunks,) uint32: CRC-32 of each stored (compressed) chunk of /spectrogram
    /basis/...        only in stores made with a trained basis; float32
        basis         (2 * n_freqs, n_fft) rows that frames were multiplied with, window included
        window, frequencies, mel, pcen
                      its other weights, as in a basis file
        about         (1,) JSON: what was trained, and the metadata of the basis file
    /errors/...       one row per source that failed: key, reason, size, mtime_ns
    attributes of /   format ("specctl-store"), format_version (1), config (JSON of the settings;
                      "basis" in it is the fingerprint of the trained basis),
                      fingerprint (SHA-256 (hex) of the bytes of config), specctl_version,
                      created (ISO 8601, UTC), tables_sha256 (SHA-256 (hex) of the bytes of every
                      dataset but /spectrogram, /frame and /re_im, in order of their paths),
                      seal_sha256 (SHA-256 (hex) of every byte of the file, from first to last,
                      that is neither in a chunk of /spectrogram nor one of the 64 digits
                      themselves), and of the writer: job (its id), request (hash of what was
                      asked for), kernel and device that gave the numbers

Strings are UTF-8 of fixed length, padded with NUL. In keys, bytes of file names that are not UTF-8
stand as ``%XX``, and a ``%`` that would read like one as ``%25``. There are no links, virtual or
external datasets.
"""

import hashlib
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from specctl.errors import ParameterError

FORMAT = "specctl-store"
FORMAT_VERSION = 1

DTYPES = ("float32", "float16", "int16", "uint8")
COMPRESSIONS = ("none", "gzip")
FILL_VALUE = 0

_MAX_CHUNK_BYTES = 512 * 1024
_MIN_CHUNK_FRAMES = 16
_FLOAT16_MAX = 65504.0


@dataclass(frozen=True)
class Layout:
    """How the rows of ``/spectrogram`` are stored; pure numbers.

    Parameters
    ----------
    n_bins : int
        Values per frame (complex ones count once).
    is_complex : bool
        Rows have a trailing axis of 2 (re, im).
    dtype : "float32", "float16", "int16" or "uint8"
    compression : "none" or "gzip"
    scale_factor, add_offset : float
        ``value = stored * scale_factor + add_offset``; 1 and 0 for float types.
    max_error : float
        Worst absolute error of storing a value inside the range; 0 for float32.
    chunk_frames : int
        Rows per chunk; 0 stands for the derived number, which replaces it.
    """

    n_bins: int
    is_complex: bool = False
    dtype: str = "float32"
    compression: str = "gzip"
    scale_factor: float = 1.0
    add_offset: float = 0.0
    max_error: float = 0.0
    chunk_frames: int = 0

    def __post_init__(self) -> None:
        _check_word("dtype", self.dtype, DTYPES)
        _check_word("compression", self.compression, COMPRESSIONS)
        if self.n_bins < 1:
            raise ParameterError(f"n_bins must be at least 1, got {self.n_bins}")
        if not (math.isfinite(self.scale_factor) and self.scale_factor > 0):
            raise ParameterError(f"scale_factor must be above 0, got {self.scale_factor}")
        if not math.isfinite(self.add_offset):
            raise ParameterError(f"add_offset must be finite, got {self.add_offset}")
        if not self.is_integer and (self.scale_factor, self.add_offset) != (1.0, 0.0):
            raise ParameterError(
                f"scale_factor and add_offset must be 1 and 0 for {self.dtype}, "
                f"got {self.scale_factor} and {self.add_offset}"
            )
        if self.chunk_frames < 0:
            raise ParameterError(f"chunk_frames must be at least 1, got {self.chunk_frames}")
        if self.chunk_frames == 0:
            object.__setattr__(self, "chunk_frames", derived_chunk_frames(self.row_bytes))

    @classmethod
    def for_values(
        cls,
        n_bins: int,
        *,
        is_complex: bool = False,
        dtype: str = "float32",
        compression: str = "gzip",
        value_range: tuple[float, float] = (-_FLOAT16_MAX, _FLOAT16_MAX),
    ) -> Self:
        """Layout whose stored type spans a range of values.

        Parameters
        ----------
        value_range : (lowest, highest)
            Read for int16 and uint8, whose codes are spread over it, and for the error of
            float16.
        """
        low, high = value_range
        if not low < high:
            raise ParameterError(f"value_range must rise, got {low} to {high}")
        highest = max(abs(low), abs(high))
        if dtype == "float16" and highest > _FLOAT16_MAX:
            raise ParameterError(
                f"dtype must be float32 for values up to {highest:.3g}, "
                f"float16 holds {_FLOAT16_MAX:g} at most"
            )
        scale, offset = 1.0, 0.0
        if dtype in ("int16", "uint8"):
            codes = np.iinfo(dtype)
            scale = (high - low) / (codes.max - codes.min)
            offset = low - codes.min * scale
        return cls(
            n_bins=n_bins,
            is_complex=is_complex,
            dtype=dtype,
            compression=compression,
            scale_factor=scale,
            add_offset=offset,
            max_error=_max_error(dtype, scale, highest),
        )

    @property
    def is_integer(self) -> bool:
        """Values are stored as codes of ``scale_factor`` and ``add_offset``."""
        return self.dtype in ("int16", "uint8")

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """The stored type, little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one row: ``(n_bins,)``, complex ``(n_bins, 2)``."""
        return (self.n_bins, 2) if self.is_complex else (self.n_bins,)

    @property
    def width(self) -> int:
        """Numbers in one row."""
        return self.n_bins * 2 if self.is_complex else self.n_bins

    @property
    def row_bytes(self) -> int:
        """Bytes of one stored row."""
        return self.width * np.dtype(self.dtype).itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk before compression."""
        return self.chunk_frames * self.row_bytes

    @property
    def value_range(self) -> tuple[float, float]:
        """Lowest and highest value that can be stored."""
        if self.is_integer:
            codes = np.iinfo(self.dtype)
            return (
                codes.min * self.scale_factor + self.add_offset,
                codes.max * self.scale_factor + self.add_offset,
            )
        highest = float(np.finfo(self.dtype).max)
        return -highest, highest

    def scale_digest(self) -> str:
        """SHA-256 (hex) of what turns codes into values, and of the worst error of that."""
        scale = struct.pack("<3d", self.scale_factor, self.add_offset, self.max_error)
        return hashlib.sha256(scale).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Fields by name, ready for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def difference(self, wanted: Self) -> str:
        """What is here instead of what is wanted, in words; empty if nothing is."""
        values = wanted.to_dict()
        differing = [
            f"{name} {value} instead of {values[name]}"
            for name, value in self.to_dict().items()
            if value != values[name]
        ]
        return ", ".join(differing)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ParameterError(f"layout has unknown fields: {', '.join(sorted(unknown))}")
        return cls(**values)


@dataclass(frozen=True)
class ItemRecord:
    """One item of a store; the module's docstring says what each field means."""

    key: str
    source: str
    n_frames: int
    sample_rate: int
    n_samples: int
    channel: int = -1
    offset: int = 0
    label: str = ""
    size: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    digest: str = ""
    truncated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Fields by name, ready for JSON."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Record with plain ``int``, ``bool`` and ``str`` fields, whatever integers came in."""
        return cls(**_plain(cls, values))


@dataclass(frozen=True)
class FailureRecord:
    """One source that could not be converted, and why."""

    key: str
    reason: str
    size: int = 0
    mtime_ns: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Fields by name, ready for JSON."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Record with plain ``int`` and ``str`` fields, whatever integers came in."""
        return cls(**_plain(cls, values))


def derived_chunk_frames(row_bytes: int) -> int:
    """Rows per chunk: a power of two, chunks of 256 to 512 KiB, but at least 16 rows."""
    fitting = max(_MAX_CHUNK_BYTES // row_bytes, 1)
    return max(1 << (fitting.bit_length() - 1), _MIN_CHUNK_FRAMES)


_PLAIN: dict[Any, Callable[[Any], Any]] = {int: int, bool: bool}


def _plain(
    record: type[ItemRecord] | type[FailureRecord], values: Mapping[str, Any]
) -> dict[str, Any]:
    kinds = _KINDS[record]
    if not values.keys() <= kinds.keys():
        unknown = sorted(set(values) - set(kinds))
        raise ParameterError(f"record has unknown fields: {', '.join(unknown)}")
    return {name: kinds[name](value) for name, value in values.items()}


_KINDS = {
    record: {field.name: _PLAIN.get(field.type, str) for field in fields(record)}
    for record in (ItemRecord, FailureRecord)
}
"""What makes a plain value of each field."""


def _max_error(dtype: str, scale: float, highest: float) -> float:
    """Half a step of the stored type, plus the rounding of a decoded value to float32."""
    if dtype == "float32":
        return 0.0
    if dtype == "float16":
        # the step below the largest number, which has none above it
        below = np.nextafter(np.float16(highest), np.float16(0))
        return float(np.spacing(below)) / 2
    return scale / 2 + float(np.spacing(np.float32(highest)))


def _check_word(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ParameterError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
