import json

import numpy as np
import pytest

from specctl.errors import ParameterError
from specctl.store.layout import FailureRecord, ItemRecord, Layout, derived_chunk_frames


@pytest.mark.parametrize("row_bytes", [1, 4, 80, 320, 8200, 16392, 40_000])
def test_chunks_are_a_power_of_two_of_frames_in_256_to_512_kib(row_bytes):
    frames = derived_chunk_frames(row_bytes)
    assert frames & (frames - 1) == 0
    assert frames == 16 or 256 * 1024 <= frames * row_bytes <= 512 * 1024


def test_chunks_of_very_wide_frames_have_16_of_them():
    assert derived_chunk_frames(10**6) == 16


@pytest.mark.parametrize("dtype", ["float32", "float16", "int16", "uint8"])
def test_goes_through_json_unchanged(dtype):
    layout = Layout.for_values(80, dtype=dtype, value_range=(-100, 51.3))
    assert Layout.from_dict(json.loads(json.dumps(layout.to_dict()))) == layout


@pytest.mark.parametrize("dtype", ["int16", "uint8"])
def test_codes_span_the_range(dtype):
    layout = Layout.for_values(80, dtype=dtype, value_range=(-100, 51.3))
    assert np.allclose(layout.value_range, (-100, 51.3), rtol=1e-12)
    assert layout.max_error == pytest.approx(layout.scale_factor / 2, rel=0.01)


def test_half_floats_state_half_of_their_widest_step():
    layout = Layout.for_values(80, dtype="float16", value_range=(0, 65504))
    assert layout.max_error == 16


def test_half_floats_are_refused_for_values_beyond_them():
    with pytest.raises(ParameterError, match="must be float32 for values up to 6.55e"):
        Layout.for_values(80, dtype="float16", value_range=(0, 65536))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": "float64"}, "dtype must be one of float32, float16, int16, uint8"),
        ({"compression": "lzf"}, "compression must be one of none, gzip, got 'lzf'"),
        ({"n_bins": 0}, "n_bins must be at least 1, got 0"),
        ({"scale_factor": 2.0}, "must be 1 and 0 for float32, got 2.0 and 0.0"),
        ({"dtype": "uint8", "scale_factor": float("nan")}, "scale_factor must be above 0"),
        ({"chunk_frames": -1}, "chunk_frames must be at least 1"),
    ],
)
def test_refuses(fields, message):
    with pytest.raises(ParameterError, match=message):
        Layout(**{"n_bins": 80, **fields})


def test_from_dict_names_unknown_fields():
    with pytest.raises(ParameterError, match="unknown fields: nonsense"):
        Layout.from_dict({"n_bins": 80, "nonsense": 1})


def test_records_hold_plain_numbers_and_text():
    record = ItemRecord.from_dict(
        {"key": "a", "source": "a", "n_frames": np.int64(3), "sample_rate": 1, "n_samples": 2}
    )
    assert type(record.n_frames) is int
    json.dumps(record.to_dict())
    with pytest.raises(ParameterError, match="unknown fields: nonsense"):
        FailureRecord.from_dict({"key": "a", "nonsense": 1})
