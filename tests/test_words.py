import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from specctl.words import counted, duration, ratio, shell_command, size

BYTES = {"byte": 1, "bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
SECONDS = {"s": 1, "min": 60, "h": 3600}
# of three digits, the last is off by half at the most: 5 in 1,000
THREE_DIGITS = 0.0051


def number(text):
    assert re.fullmatch(r"\d{1,3}(,\d{3})*(\.\d+)?", text), text
    return float(text.replace(",", ""))


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (999.6, "1 kB"),
        (312e6, "312 MB"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (999_999_999, "1 GB"),
        (999.6e9, "1 TB"),
        (1.5e15, "1,500 TB"),
    ],
)
def test_sizes(n_bytes, text):
    assert size(n_bytes) == text


@given(st.floats(0, 1e24) | st.integers(0, 10**24))
@example(999.5)
@example(999_500)
@example(999_500_000_000)
def test_a_size_has_three_digits_and_no_exponent(n_bytes):
    value, unit = size(n_bytes).split()
    assert abs(number(value) * BYTES[unit] - n_bytes) <= max(0.5, THREE_DIGITS * n_bytes)
    assert number(value) < 1000 or unit == "TB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (1e-5, "0 s"),
        (0.0123, "0.0123 s"),
        (1.44, "1.44 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (60, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 0 min"),
        (3600, "1 h 0 min"),
        (5 * 3600 + 10 * 60, "5 h 10 min"),
        (6 * 3600 - 20, "6 h 0 min"),
        (3.6e6, "1,000 h 0 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@given(st.floats(0, 1e12) | st.floats(0, 1) | st.floats(59, 61) | st.floats(3598, 3602))
def test_a_duration_has_no_exponent_and_no_sixty(seconds):
    words = duration(seconds).split()
    parts = [(number(value), unit) for value, unit in zip(words[::2], words[1::2], strict=True)]
    assert all(value < 60 for value, unit in parts if unit != "h")
    # to 0.1 ms or three digits, whole seconds, or whole minutes
    half = {"s": max(5e-5, THREE_DIGITS * seconds), "min": 0.5, "h": 30}[parts[0][1]]
    told = sum(value * SECONDS[unit] for value, unit in parts)
    assert abs(told - seconds) <= half * (1 + 1e-9)


@given(st.integers(0, 10**12))
@example(1)
def test_one_thing_is_not_several(n):
    value, thing = counted(n, "file").split()
    assert number(value) == n
    assert thing == ("file" if n == 1 else "files")


@pytest.mark.parametrize(
    ("value", "text"), [(0.18, "0.2"), (9.96, "10"), (9.94, "9.9"), (0, "0.0"), (1107.4, "1,107")]
)
def test_a_ratio_is_not_rounded_to_nothing(value, text):
    assert ratio(value) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("out.h5", "specctl info out.h5"),
        ("my store.h5", "specctl info 'my store.h5'"),
        ("-a.h5", "specctl info ./-a.h5"),
    ],
)
def test_a_command_is_what_a_shell_takes(path, text):
    assert shell_command("info", Path(path)) == text
