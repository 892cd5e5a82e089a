import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specctl.errors import StoreError
from specctl.store.layout import Layout
from specctl.store.values import ValueDecoder, write_values

from .stores import small_layout


def stored(layout, values):
    rows = np.asarray(values, dtype=np.float32).reshape(-1, 1)
    out = np.zeros(rows.shape, dtype=layout.stored_dtype)
    write_values(rows, out, layout)
    return out


@pytest.mark.parametrize("dtype", ["float32", "float16", "int16", "uint8"])
@given(st.lists(st.floats(-100, 30, width=32), min_size=1, max_size=20))
def test_is_off_by_at_most_the_declared_error(dtype, values):
    layout = small_layout(dtype)
    back = ValueDecoder(layout)(stored(layout, values)).reshape(-1)
    assert back.dtype == np.float32
    off = np.abs(back.astype(np.float64) - np.array(values, dtype=np.float32))
    assert off.max() <= layout.max_error


def test_ties_go_to_the_even_code():
    layout = Layout(1, dtype="uint8", scale_factor=2.0)
    assert stored(layout, [1, 3, 5, 7, 9]).reshape(-1).tolist() == [0, 2, 2, 4, 4]


@pytest.mark.parametrize("dtype", ["int16", "uint8"])
def test_every_code_comes_back_as_itself(dtype):
    layout = small_layout(dtype)
    limits = np.iinfo(dtype)
    codes = np.arange(limits.min, limits.max + 1).astype(layout.stored_dtype).reshape(-1, 1)
    assert (stored(layout, ValueDecoder(layout)(codes)) == codes).all()


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("uint8", 63.2, r"value 63.2 is above the range of uint8 \(-100 to 51.3\); convert with"),
        ("int16", -101.5, r"value -101.5 is below the range of int16 \(-100 to 51.3\)"),
        ("float16", 1e5, r"value 100000 is above the range of float16 \(-65504 to 65504\)"),
        ("uint8", np.inf, "value inf is above the range of uint8"),
        ("uint8", np.nan, "values that are not a number, uint8 has none"),
        ("float16", np.nan, "values that are not a number, float16 has none"),
    ],
)
def test_refuses_what_the_type_cannot_hold(dtype, value, message):
    layout = Layout.for_values(1, dtype=dtype, value_range=(-100, 51.3))
    with pytest.raises(StoreError, match=message):
        stored(layout, [0.0, value, 1.0])
