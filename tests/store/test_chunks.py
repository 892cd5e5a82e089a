import dataclasses
import subprocess
import sys
import zlib

import numpy as np
import pytest

from specctl.errors import StoreError
from specctl.store.chunks import ChunkCodec, checksum

from .stores import small_layout


def random_rows(layout):
    rows = np.random.default_rng(0).integers(0, 256, layout.chunk_bytes, dtype=np.uint8)
    return rows.view(layout.stored_dtype).reshape(layout.chunk_frames, layout.width)


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int16", "uint8"])
def test_decode_undoes_encode(dtype, compression):
    layout = small_layout(dtype, compression)
    codec = ChunkCodec(layout)
    rows = random_rows(layout)
    assert codec.decode(bytes(codec.encode(rows))).tobytes() == rows.tobytes()


def noisy_rows(layout, n_noise_bits):
    """Smooth values whose lowest bits are noise."""
    chance = np.random.default_rng(1)
    shape = (layout.chunk_frames, layout.width)
    codes = np.linspace(0, 100, shape[0] * shape[1]).astype(np.int32).reshape(shape)
    codes = (codes << n_noise_bits) + chance.integers(0, 1 << n_noise_bits, shape)
    return codes.astype(np.int32).view(np.float32)


@pytest.mark.parametrize("n_noise_bits", [0, 8, 16, 24])
def test_zlib_reads_what_is_partly_as_it_was(n_noise_bits):
    layout = dataclasses.replace(small_layout("float32", "gzip"), n_bins=80, chunk_frames=2048)
    rows = noisy_rows(layout, n_noise_bits)
    data = ChunkCodec(layout).encode(rows)
    planes = rows.reshape(-1).view(np.uint8).reshape(-1, 4).T
    assert zlib.decompress(data) == planes.tobytes()
    # noise costs itself, and a header for each 65,535 bytes
    assert len(data) < layout.chunk_bytes * (n_noise_bits + 2) // 32 + 200


@pytest.mark.parametrize("n_bins", [80, 1025])
def test_frames_that_repeat_shrink_though_each_is_noise(n_bins):
    layout = dataclasses.replace(small_layout("float32", "gzip"), n_bins=n_bins, chunk_frames=64)
    frame = np.random.default_rng(2).random(n_bins, dtype=np.float32)
    rows = np.broadcast_to(frame, (64, n_bins)).copy()
    data = ChunkCodec(layout).encode(rows)
    assert zlib.decompress(data) == rows.reshape(-1).view(np.uint8).reshape(-1, 4).T.tobytes()
    # one frame as it is, and 63 times that it comes again
    assert len(data) < layout.chunk_bytes / 10


@pytest.mark.parametrize("n_bins", [80, 1025])
@pytest.mark.parametrize("silent", [slice(0, 24), slice(40, 64)], ids=["start", "end"])
def test_silence_shrinks_though_most_of_a_chunk_is_noise(n_bins, silent):
    layout = dataclasses.replace(small_layout("uint8", "gzip"), n_bins=n_bins, chunk_frames=64)
    rows = random_rows(layout)
    rows[silent] = 0
    data = ChunkCodec(layout).encode(rows)
    assert zlib.decompress(data) == rows.tobytes()
    assert len(data) < layout.chunk_bytes * 0.7


def test_checksum_is_that_of_zlib():
    assert checksum(b"specctl") == zlib.crc32(b"specctl")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zlib.compress(bytes(10**8)), "does not end where it should"),
        (zlib.compress(bytes(8 * 7 * 4))[:-1], "does not end where it should"),
        (zlib.compress(bytes(8 * 7 * 4)) + b"more", "does not end where it should"),
        (zlib.compress(bytes(8 * 7 * 4 - 1)), "holds 223 bytes, expected 224"),
        (zlib.compress(bytes(8 * 7 * 4))[:-1] + b"!", "cannot be decompressed"),
        (b"no zlib at all", "cannot be decompressed"),
        (b"", "cannot be decompressed"),
    ],
    ids=["bomb", "cut", "longer", "short", "wrong sum", "other", "empty"],
)
def test_refuses_streams_that_are_not_one_chunk(data, message):
    with pytest.raises(StoreError, match=message):
        ChunkCodec(small_layout()).decode(data)


ENCODE_MANY = """
import dataclasses, hashlib
import numpy as np
from specctl.store.chunks import ChunkCodec
from tests.store.stores import small_layout

layout = dataclasses.replace(small_layout("uint8", "gzip"), n_bins=32, chunk_frames=32)
n_bytes, chance, codec = layout.chunk_bytes, np.random.default_rng(0), ChunkCodec(layout)
digests = [hashlib.sha256(), hashlib.sha256()]
for _ in range(10_000):
    values = np.resize(chance.integers(0, 16, chance.integers(16, 200), dtype=np.uint8), n_bytes)
    digests[0].update(codec.encode(values.reshape(32, 32)))
    # now there is no value that is not among them
    values[-256:] = np.arange(256)
    digests[1].update(codec.encode(values.reshape(32, 32)))
print(*(digest.hexdigest() for digest in digests))
"""


def test_the_same_rows_are_the_same_bytes_in_every_process():
    """ISA-L by itself may find other matches when its state lies elsewhere in memory."""
    command = [sys.executable, "-c", ENCODE_MANY]
    runs = [subprocess.run(command, check=False, capture_output=True, text=True) for _ in "123"]
    assert [run.stderr for run in runs] == ["", "", ""]
    rare, steady = zip(*(run.stdout.split() for run in runs), strict=True)
    assert len(set(rare)) == len(set(steady)) == 1
